//! Answers names from the same Snapshot that routes calls.
