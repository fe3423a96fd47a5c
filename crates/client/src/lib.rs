//! The typed client of the HTTP API: one method for each operation.
//!
//! Each call makes a connection of its own to the unix socket; that costs some microseconds, and
//! a call that is dropped is thereby given up. The client knows the wire types and nothing of
//! what they mean.

mod connection;
mod exec;
mod lines;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use api::{
    AppStatus, Apps, Done, DownRequest, Event, EventsQuery, ExecRequest, Explanation, Failure,
    Info, KillRequest, LogLine, LogsQuery, Operation, Progress, ScaleRequest, ServicesRequest,
    UpRequest,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use connection::Call;
pub use exec::{Exec, ExecInput, ExecOutput, Said};
pub use lines::Lines;

/// Why a call did not get its answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no daemon answers at {}", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection ended before the answer did.
    #[error("the daemon's answer broke off")]
    BrokenOff(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is not what this release reads.
    #[error("the daemon's answer cannot be read; it may be of another release")]
    Unreadable(#[source] serde_json::Error),
    /// The daemon says no.
    #[error("{0}")]
    Refused(Failure),
}

/// A client of the daemon behind one socket.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// A client; it connects when it is called.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// The daemon.
    ///
    /// # Errors
    /// [`ClientError`], as for every method here.
    pub async fn info(&self) -> Result<Info, ClientError> {
        self.value(&api::INFO, "", "").await
    }

    /// The OpenAPI document.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn openapi(&self) -> Result<serde_json::Value, ClientError> {
        self.value(&api::OPENAPI, "", "").await
    }

    /// Ends the daemon.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn shut_down(&self) -> Result<Done, ClientError> {
        self.value(&api::SHUTDOWN, "", "").await
    }

    /// The apps.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn apps(&self) -> Result<Apps, ClientError> {
        self.value(&api::APPS, "", "").await
    }

    /// An app.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn status(&self, app: &str) -> Result<AppStatus, ClientError> {
        self.value(&api::STATUS, app, "").await
    }

    /// An app now, and whenever it changed.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn watch(&self, app: &str) -> Result<Lines<AppStatus>, ClientError> {
        self.stream(&api::WATCH, app, String::new()).await
    }

    /// Why a service is as it is.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn explain(&self, app: &str, service: &str) -> Result<Explanation, ClientError> {
        self.value(&api::EXPLAIN, app, service).await
    }

    /// Makes an app what a document declares.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn up(&self, app: &str, wish: &UpRequest) -> Result<Lines<Progress>, ClientError> {
        self.change(&api::UP, app, wish).await
    }

    /// Takes an app down.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn down(
        &self,
        app: &str,
        wish: &DownRequest,
    ) -> Result<Lines<Progress>, ClientError> {
        self.change(&api::DOWN, app, wish).await
    }

    /// Stops services.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn stop(
        &self,
        app: &str,
        wish: &ServicesRequest,
    ) -> Result<Lines<Progress>, ClientError> {
        self.change(&api::STOP, app, wish).await
    }

    /// Kills services, or sends them another signal.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn kill(
        &self,
        app: &str,
        wish: &KillRequest,
    ) -> Result<Lines<Progress>, ClientError> {
        self.change(&api::KILL, app, wish).await
    }

    /// Says how many instances services are to have.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn scale(
        &self,
        app: &str,
        wish: &ScaleRequest,
    ) -> Result<Lines<Progress>, ClientError> {
        self.change(&api::SCALE, app, wish).await
    }

    /// Starts stopped services.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn start(
        &self,
        app: &str,
        wish: &ServicesRequest,
    ) -> Result<Lines<Progress>, ClientError> {
        self.change(&api::START, app, wish).await
    }

    /// Replaces the instances of services.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn restart(
        &self,
        app: &str,
        wish: &ServicesRequest,
    ) -> Result<Lines<Progress>, ClientError> {
        self.change(&api::RESTART, app, wish).await
    }

    /// Wakes services.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn wake(
        &self,
        app: &str,
        wish: &ServicesRequest,
    ) -> Result<Lines<Progress>, ClientError> {
        self.change(&api::WAKE, app, wish).await
    }

    /// Puts services to sleep.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn rest(
        &self,
        app: &str,
        wish: &ServicesRequest,
    ) -> Result<Lines<Progress>, ClientError> {
        self.change(&api::REST, app, wish).await
    }

    /// What instances wrote.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn logs(&self, app: &str, query: &LogsQuery) -> Result<Lines<LogLine>, ClientError> {
        let query = [
            ("services", query.services.clone()),
            ("since", query.since.map(|since| since.to_string())),
            ("tail", query.tail.map(|tail| tail.to_string())),
            ("follow", Some(query.follow.to_string())),
        ];
        self.stream(&api::LOGS, app, text(&query)).await
    }

    /// What happened.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn events(&self, app: &str, query: EventsQuery) -> Result<Lines<Event>, ClientError> {
        let query = [
            ("after", query.after.map(|after| after.to_string())),
            ("tail", query.tail.map(|tail| tail.to_string())),
            ("follow", Some(query.follow.to_string())),
        ];
        self.stream(&api::EVENTS, app, text(&query)).await
    }

    /// Runs a command inside an instance of a service.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn exec(
        &self,
        app: &str,
        service: &str,
        wish: &ExecRequest,
    ) -> Result<Exec, ClientError> {
        let call = self.call(&api::EXEC, api::EXEC.at(app, service), Some(wish));
        Exec::over(call.await?).await
    }

    async fn value<T: DeserializeOwned>(
        &self,
        operation: &Operation,
        app: &str,
        service: &str,
    ) -> Result<T, ClientError> {
        let path = operation.at(app, service);
        self.call(operation, path, None::<&()>).await?.value().await
    }

    async fn stream<T: DeserializeOwned>(
        &self,
        operation: &Operation,
        app: &str,
        query: String,
    ) -> Result<Lines<T>, ClientError> {
        let path = operation.at(app, "") + &query;
        let call = self.call(operation, path, None::<&()>).await?;
        Ok(Lines::of(call))
    }

    async fn change<T: DeserializeOwned>(
        &self,
        operation: &Operation,
        app: &str,
        wish: &impl Serialize,
    ) -> Result<Lines<T>, ClientError> {
        let call = self.call(operation, operation.at(app, ""), Some(wish));
        Ok(Lines::of(call.await?))
    }

    async fn call(
        &self,
        operation: &Operation,
        path: String,
        body: Option<&impl Serialize>,
    ) -> Result<Call, ClientError> {
        let body = body.map(serde_json::to_vec).transpose();
        let body = body.map_err(ClientError::Unreadable)?;
        Call::begin(&self.socket, operation, &path, body).await
    }
}

/// `?name=value&…` of what is there. No value here needs escaping: names of services, numbers,
/// and times in UTC.
fn text(query: &[(&str, Option<String>)]) -> String {
    let pairs: Vec<String> = query
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?)))
        .collect();
    format!("?{}", pairs.join("&"))
}
