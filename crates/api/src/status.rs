//! How things are.

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
    /// In a word: `up`, `stopped`.
    pub state: String,
    /// How many services it has.
    pub services: u32,
    /// How many of them have a ready instance.
    pub ready: u32,
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
    /// What it does, in a word or two: `running`, `asleep`. A later release may have more words;
    /// a program judges by `stage`.
    pub state: String,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The networks that it is on.
    pub networks: Vec<String>,
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
    /// What it does, in a word: `ready`, `frozen`.
    pub state: String,
    /// How long ago, in milliseconds, its program was last started, if this daemon saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    /// How often its program was started again.
    pub restarts: u32,
    /// Calls and connections inside it.
    pub in_flight: u32,
    /// Calls that entered it since it was last started.
    pub calls: u64,
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
