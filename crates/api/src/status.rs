//! How things are.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Event;

/// The daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Info {
    /// Its release.
    pub version: String,
    /// The version of this API.
    pub api: u32,
    /// Its process.
    pub pid: u32,
    /// The engine that runs instances.
    pub engine: String,
    /// What this machine keeps it from doing, each in a sentence.
    pub shortcomings: Vec<String>,
}

/// The apps that the daemon knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Apps {
    /// By name.
    pub apps: Vec<AppSummary>,
}

/// An app in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppSummary {
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub state: AppState,
    /// How many services it has.
    pub services: u32,
    /// How many of them have a ready instance.
    pub ready: u32,
}

/// Whether an app runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AppState {
    /// It is up; its services may sleep.
    Up,
    /// It is stopped and kept.
    Stopped,
}

impl fmt::Display for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Up => "up",
            Self::Stopped => "stopped",
        })
    }
}

/// An app, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppStatus {
    /// Its name.
    pub app: String,
    /// Its services, by name; also those that are leaving.
    pub services: Vec<ServiceStatus>,
    /// Its published ports that accept.
    pub listening: Vec<Listening>,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// What it does, in one word.
    pub state: ServiceState,
    /// How far it is on its way to what it should be.
    pub stage: Stage,
    /// Why, in words, the most telling first.
    pub reasons: Vec<String>,
    /// Its current revision.
    pub revision: u32,
    /// The number of instances wished while it is awake.
    pub wanted: u32,
    /// How many instances admit calls.
    pub ready: u32,
    /// Its instances, by number.
    pub instances: Vec<InstanceStatus>,
    /// Calls that began, ever.
    pub calls: u64,
    /// Calls and connections inside an instance.
    pub in_flight: u32,
    /// Calls and connections that wait for an instance.
    pub held: u32,
    /// How long ago, in milliseconds, a call last began or ended; absent when none ever did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_demand_ms: Option<u64>,
    /// Where it answers on this machine, when it speaks HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The team that answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its address inside the app.
    pub address: String,
    /// The networks that it is on.
    pub networks: Vec<String>,
}

/// What a service does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    /// As many instances as wished are ready.
    Running,
    /// Too few are ready, and that is about to change.
    Starting,
    /// Its instances run and none is ready any more.
    Unready,
    /// Instances of before are being replaced.
    Replacing,
    /// It waits for a service that it depends on.
    Waiting,
    /// It ended, and is started again in a while.
    BackingOff,
    /// It is falling asleep.
    Resting,
    /// It sleeps until it is called.
    Asleep,
    /// Its instances are asked to end.
    Stopping,
    /// It is not to run, and does not.
    Stopped,
    /// It ended with success, and is not to run again.
    Completed,
    /// It should run, does not, and is not started again by itself.
    Failed,
}

impl fmt::Display for ServiceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Unready => "unready",
            Self::Replacing => "replacing",
            Self::Waiting => "waiting",
            Self::BackingOff => "backing off",
            Self::Resting => "resting",
            Self::Asleep => "asleep",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Completed => "completed",
            Self::Failed => "failed",
        })
    }
}

/// How far something is on its way to what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It is there.
    Settled,
    /// It is on its way.
    UnderWay,
    /// It does not get there by itself.
    Stuck,
}

/// One running copy of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InstanceStatus {
    /// Which copy.
    pub number: u32,
    /// The revision that it is a copy of.
    pub revision: u32,
    /// What it does, in one word.
    pub state: InstanceState,
    /// How long, in milliseconds, it has been doing that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// How its program last ended, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// How often its program was started again.
    pub restarts: u32,
    /// Calls and connections inside it.
    pub in_flight: u32,
}

/// What an instance does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    /// It was not started yet.
    New,
    /// Its start was asked for.
    Starting,
    /// Its program runs, and it is not known to be ready.
    Probing,
    /// It admits calls.
    Ready,
    /// Its healthcheck fails.
    Unready,
    /// It admits no new calls.
    Draining,
    /// It is being frozen.
    Freezing,
    /// It is frozen.
    Frozen,
    /// It is being thawed.
    Thawing,
    /// It was asked to end.
    Stopping,
    /// Its program does not run.
    Ended,
    /// It is being removed.
    Removing,
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::New => "new",
            Self::Starting => "starting",
            Self::Probing => "probing",
            Self::Ready => "ready",
            Self::Unready => "unready",
            Self::Draining => "draining",
            Self::Freezing => "freezing",
            Self::Frozen => "frozen",
            Self::Thawing => "thawing",
            Self::Stopping => "stopping",
            Self::Ended => "ended",
            Self::Removing => "removing",
        })
    }
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Exit {
    /// The code it returned, 0 to 255, when it returned one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    /// The number of the signal that ended it, when one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<u8>,
    /// In words.
    pub text: String,
}

/// A published port that accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Listening {
    /// The service behind it.
    pub service: String,
    /// Its port there.
    pub target: u16,
    /// Where it listens: `127.0.0.1:8080`.
    pub address: String,
}

/// Why a service is as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// How it is, with the reasons of the last pass.
    pub status: ServiceStatus,
    /// What happened to it last, oldest first.
    pub events: Vec<Event>,
}
