//! Fake engines with faults, for tests.
