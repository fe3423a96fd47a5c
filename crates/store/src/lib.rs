//! Apps and events in one SQLite file.
//!
//! Owns the file: its schema, its records, and how each is converted to and from the model. It
//! refuses to know what an app's document says: that text is kept as it came.
//!
//! The file is never replaced and never repaired. One that is not ours, is damaged, or was
//! written by a newer release is refused with the reason, and left as it is.

mod record;
mod schema;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::{AppName, Event};
use ports::{AppRecord, Store, StoreError, StoredEvent};
use rusqlite::{Connection, Row, params};

use record::Unreadable;

/// The newest events of each app that are kept.
pub const EVENTS_MAX: u32 = 10_000;

/// The state of one daemon in one file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl SqliteStore {
    /// Opens the file, or makes it, readable by its user only. Its folder must be there.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be used; it is then as it was.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |why: String| StoreError::File {
            what: "open",
            path: path.display().to_string(),
            why,
        };
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|error| failed(error.to_string()))?;
        let connection = schema::open(path).map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            path: path.to_owned(),
            connection: Mutex::new(connection),
        })
    }

    /// A panic elsewhere cannot leave half a change behind: a transaction that is dropped is
    /// rolled back. So a poisoned lock is as good as any.
    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self) -> String {
        self.path.display().to_string()
    }

    fn failed(&self, what: &'static str, error: &rusqlite::Error) -> StoreError {
        let path = self.path();
        let why = error.to_string();
        StoreError::File { what, path, why }
    }

    /// Runs a query and converts each row; a row that cannot be converted is an error that says
    /// why.
    fn rows<T>(
        &self,
        connection: &Connection,
        query: &str,
        params: impl rusqlite::Params,
        convert: impl Fn(&Row<'_>) -> Result<T, Unreadable>,
    ) -> Result<Vec<T>, StoreError> {
        let read = |error| self.failed("read", &error);
        let mut statement = connection.prepare_cached(query).map_err(read)?;
        let mut rows = statement.query(params).map_err(read)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next().map_err(read)? {
            all.push(convert(row).map_err(|unreadable| StoreError::Record {
                path: self.path(),
                why: unreadable.to_string(),
            })?);
        }
        Ok(all)
    }
}

impl Store for SqliteStore {
    fn apps(&self) -> Result<Vec<(AppRecord, String)>, StoreError> {
        let mut connection = self.connection();
        let snapshot = connection
            .transaction()
            .map_err(|error| self.failed("read", &error))?;
        let query = "SELECT name, document, wish FROM app ORDER BY name";
        let apps = self.rows(&snapshot, query, [], record::app)?;
        let mut services = BTreeMap::<_, BTreeMap<_, _>>::new();
        let query = "SELECT app, name, address, revision, instances, selected FROM service";
        for (app, name, service) in self.rows(&snapshot, query, [], record::service)? {
            services.entry(app).or_default().insert(name, service);
        }
        let with_services = |(mut app, document): (AppRecord, String)| {
            app.services = services.remove(&app.name).unwrap_or_default();
            (app, document)
        };
        Ok(apps.into_iter().map(with_services).collect())
    }

    fn save(&self, app: &AppRecord, document: Option<&str>) -> Result<(), StoreError> {
        in_one_step(&mut self.connection(), Durability::PowerLoss, |step| {
            let (name, wish) = (app.name.as_str(), record::wish_text(app.wish));
            let known = match document {
                Some(document) => step
                    .prepare_cached(
                        "INSERT INTO app (name, document, wish) VALUES (?1, ?2, ?3)
                         ON CONFLICT (name) DO UPDATE SET document = ?2, wish = ?3",
                    )?
                    .execute(params![name, document, wish])?,
                None => step
                    .prepare_cached("UPDATE app SET wish = ?2 WHERE name = ?1")?
                    .execute(params![name, wish])?,
            };
            if known == 0 {
                return Ok(());
            }
            step.prepare_cached("DELETE FROM service WHERE app = ?1")?
                .execute([app.name.as_str()])?;
            let mut insert = step.prepare_cached(
                "INSERT INTO service (app, name, address, revision, instances, selected)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for (name, service) in &app.services {
                insert.execute(params![
                    app.name.as_str(),
                    name.as_str(),
                    service.address.to_string(),
                    service.revision.0.get(),
                    service.instances,
                    record::standing_number(service.standing),
                ])?;
            }
            Ok(())
        })
        .map_err(|error| self.failed("write", &error))
    }

    fn forget(&self, app: &AppName) -> Result<(), StoreError> {
        in_one_step(&mut self.connection(), Durability::PowerLoss, |step| {
            step.execute("DELETE FROM app WHERE name = ?1", [app.as_str()])
                .map(drop)
        })
        .map_err(|error| self.failed("write", &error))
    }

    fn append(&self, events: &[Event]) -> Result<(), StoreError> {
        in_one_step(&mut self.connection(), Durability::ProcessDeath, |step| {
            let mut insert = step.prepare_cached(
                "INSERT INTO event (at, app, service, instance, fact, detail)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for event in events {
                insert.execute(params![
                    i64::try_from(event.at.0).unwrap_or(i64::MAX),
                    event.app.as_str(),
                    event.service.as_ref().map(model::ServiceName::as_str),
                    event.instance.as_ref().map(ToString::to_string),
                    event.fact.name(),
                    record::fact_detail(&event.fact).map(|detail| detail.to_string()),
                ])?;
            }
            let apps: BTreeSet<&str> = events.iter().map(|event| event.app.as_str()).collect();
            let mut trim = step.prepare_cached(
                "DELETE FROM event WHERE app = ?1 AND number <=
                 (SELECT number FROM event WHERE app = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
            )?;
            for app in apps {
                trim.execute(params![app, EVENTS_MAX])?;
            }
            Ok(())
        })
        .map_err(|error| self.failed("write", &error))
    }

    fn events(
        &self,
        app: &AppName,
        after: Option<u64>,
        count_max: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        const NEXT: &str = "SELECT number, at, app, service, instance, fact, detail FROM event
             WHERE app = ?1 AND number > ?2 ORDER BY number LIMIT ?3";
        const NEWEST: &str = "SELECT * FROM (
             SELECT number, at, app, service, instance, fact, detail FROM event
             WHERE app = ?1 AND number > ?2 ORDER BY number DESC LIMIT ?3) ORDER BY number";
        let query = if after.is_some() { NEXT } else { NEWEST };
        let after = i64::try_from(after.unwrap_or(0)).unwrap_or(i64::MAX);
        let count_max = i64::try_from(count_max).unwrap_or(i64::MAX);
        let wanted = params![app.as_str(), after, count_max];
        self.rows(&self.connection(), query, wanted, record::event)
    }
}

/// What a change outlives once it is made.
#[derive(Clone, Copy)]
enum Durability {
    /// The death of the machine: what apps are wished to be.
    PowerLoss,
    /// The death of the daemon: events, which are many, and of which the last may be lost with
    /// the machine.
    ProcessDeath,
}

/// Makes a change whole or not at all.
fn in_one_step(
    connection: &mut Connection,
    durability: Durability,
    change: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let synchronous = match durability {
        Durability::PowerLoss => "FULL",
        Durability::ProcessDeath => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    let step = connection.transaction()?;
    change(&step)?;
    step.commit()
}
