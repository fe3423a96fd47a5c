//! Listeners, protocols and endpoint pools: the path of a call.
