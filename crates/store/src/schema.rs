//! The tables, how they came to be, and which files are accepted.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

/// Marks a file as ours (SQLite, `PRAGMA application_id`): "Road".
pub(crate) const APPLICATION_ID: i32 = 0x526f_6164;

/// What makes schema n + 1 of schema n. `PRAGMA user_version` says which schema a file has; a
/// released entry is never edited.
pub(crate) const MIGRATIONS: [&str; 1] = ["
    CREATE TABLE app (
        name     TEXT NOT NULL PRIMARY KEY,
        document TEXT NOT NULL,
        wish     TEXT NOT NULL
    ) STRICT;
    CREATE TABLE service (
        app       TEXT NOT NULL REFERENCES app (name) ON DELETE CASCADE,
        name      TEXT NOT NULL,
        address   TEXT NOT NULL,
        revision  INTEGER NOT NULL,
        instances INTEGER,
        selected  INTEGER NOT NULL,
        PRIMARY KEY (app, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE event (
        number   INTEGER PRIMARY KEY AUTOINCREMENT,
        at       INTEGER NOT NULL,
        app      TEXT NOT NULL,
        service  TEXT,
        instance TEXT,
        fact     TEXT NOT NULL,
        detail   TEXT
    ) STRICT;
    CREATE INDEX event_by_app ON event (app, number);
"];

/// The schema that this release writes.
pub(crate) const SCHEMA: u32 = MIGRATIONS.len() as u32;

/// How long another process may keep the file locked: someone who looks into it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("it is no SQLite file, or a damaged one; move it away to begin anew")]
    NotSqlite,
    #[error("it is damaged: {0}; move it away to begin anew")]
    Damaged(String),
    #[error("it is an SQLite file of another program")]
    Foreign,
    #[error(
        "it was written by a newer release (schema {found}; this one knows up to {known}); use that release"
    )]
    Newer { found: u32, known: u32 },
    #[error("{0}")]
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => Self::NotSqlite,
            Some(rusqlite::ErrorCode::DatabaseCorrupt) => Self::Damaged(error.to_string()),
            Some(_) | None => Self::Sqlite(error),
        }
    }
}

/// Opens a file that is ours or empty, and brings its schema up to date.
pub(crate) fn open(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Nothing is changed before the file is known to be ours.
    let schema = recognise(&connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // KiB, by the sign. What is stored is seldom read, and the kernel has the file's pages as well.
    connection.pragma_update(None, "cache_size", -256)?;
    migrate(&mut connection, schema)?;
    Ok(connection)
}

/// The schema of the file; 0 when it is empty.
fn recognise(connection: &Connection) -> Result<u32, OpenError> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let application_id = number("application_id")?;
    let user_version = number("user_version")?;
    let objects: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application_id == 0 && user_version == 0 && objects == 0 {
        return Ok(0);
    }
    if application_id != i64::from(APPLICATION_ID) {
        return Err(OpenError::Foreign);
    }
    let found = u32::try_from(user_version).map_err(|_| OpenError::Foreign)?;
    if found > SCHEMA {
        let known = SCHEMA;
        return Err(OpenError::Newer { found, known });
    }
    let verdict: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    match verdict.as_str() {
        "ok" => Ok(found),
        _ => Err(OpenError::Damaged(verdict)),
    }
}

fn migrate(connection: &mut Connection, from: u32) -> rusqlite::Result<()> {
    if from == SCHEMA {
        return Ok(());
    }
    let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for migration in MIGRATIONS.iter().skip(from as usize) {
        step.execute_batch(migration)?;
    }
    step.pragma_update(None, "application_id", APPLICATION_ID)?;
    step.pragma_update(None, "user_version", SCHEMA)?;
    step.commit()
}
