//! The seeded simulator of the whole system.
