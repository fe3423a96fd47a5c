//! Releases, policy and events in one SQLite file.
