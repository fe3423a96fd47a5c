//! Response heads by example.
