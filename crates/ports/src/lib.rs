//! What Roadstead needs from the outside, as traits: engines, store, data plane.
