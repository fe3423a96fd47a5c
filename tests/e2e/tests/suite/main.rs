//! The end-to-end suite: what people are promised, seen from outside, with real processes in real
//! namespaces. It runs alike as root and as an ordinary user.
//!
//! A module is a part of the promise; each test has a home, a daemon and apps of its own.

#![expect(clippy::unwrap_used, reason = "all of it is tests")]

mod activation;
mod balance;
mod cli;
mod coins;
mod config;
mod crowd;
mod daemon;
mod egress;
mod isolation;
mod lifecycle;
mod logs;
mod names;
mod rest;
mod storage;
mod support;
mod update;
