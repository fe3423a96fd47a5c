//! The store against real files.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use model::{ExitStatus, Fact, InstanceId, Revision, ServiceName, Signal, Timestamp};
use ports::{AppWish, ServiceRecord, Standing};
use tempfile::TempDir;

use super::*;

fn app_name() -> AppName {
    AppName::new("coins").unwrap()
}

fn record(services: u32) -> AppRecord {
    let mut book = model::AddressBook::default();
    let service = |number: u32| {
        let name = ServiceName::new(&format!("s{number}")).unwrap();
        let record = ServiceRecord {
            address: book.assign(&name).unwrap(),
            revision: Revision(NonZeroU32::new(number + 1).unwrap()),
            instances: number.is_multiple_of(2).then_some(number),
            standing: match number % 3 {
                0 => Standing::Selected,
                1 => Standing::Stopped,
                _ => Standing::Unselected,
            },
        };
        (name, record)
    };
    AppRecord {
        name: app_name(),
        wish: AppWish::Up,
        services: (0..services).map(service).collect(),
    }
}

fn event(fact: Fact) -> Event {
    let service = ServiceName::new("rng").unwrap();
    Event {
        at: Timestamp(1_700_000_000_000_000),
        app: app_name(),
        service: Some(service.clone()),
        instance: Some(InstanceId {
            app: app_name(),
            service,
            number: 3,
        }),
        fact,
    }
}

fn facts() -> Vec<Fact> {
    let took = Duration::from_nanos(1_234_567_891);
    vec![
        Fact::AppUp,
        Fact::AppStopped,
        Fact::AppDown,
        Fact::RevisionCurrent(Revision::FIRST.next()),
        Fact::ServiceWoken,
        Fact::ServiceRested,
        Fact::ServiceScaled(7),
        Fact::InstanceStarted,
        Fact::InstanceReady(took),
        Fact::InstanceUnready("it \"said\" no\n".to_owned()),
        Fact::InstanceDraining,
        Fact::InstanceFrozen,
        Fact::InstanceThawed(took),
        Fact::InstanceStopped(ExitStatus::Code(0)),
        Fact::InstanceStopped(ExitStatus::OutOfMemory),
        Fact::InstanceExited(ExitStatus::Signal(Signal::KILL)),
        Fact::InstanceExited(ExitStatus::Unknown),
        Fact::StartFailed("no such file".to_owned()),
        Fact::StartsGivenUp(5),
    ]
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("state.db")
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.path()).unwrap()
    }
}

#[test]
fn an_app_is_read_back_as_it_was_saved_by_another_process() {
    let folder = Folder::new();
    folder.open().save(&record(5), Some("{}")).unwrap();
    let stopped = AppRecord {
        wish: AppWish::Stopped,
        ..record(2)
    };
    let store = folder.open();
    assert_eq!(store.apps(), Ok(vec![(record(5), "{}".to_owned())]));
    store.save(&stopped, Some("[]")).unwrap();
    assert_eq!(folder.open().apps(), Ok(vec![(stopped, "[]".to_owned())]));
}

#[test]
fn an_app_keeps_its_document_when_none_is_saved() {
    let folder = Folder::new();
    let store = folder.open();
    store.save(&record(1), None).unwrap();
    assert_eq!(store.apps(), Ok(Vec::new()));
    store.save(&record(1), Some("{}")).unwrap();
    store.save(&record(4), None).unwrap();
    assert_eq!(store.apps(), Ok(vec![(record(4), "{}".to_owned())]));
}

#[test]
fn a_forgotten_app_is_gone_and_its_events_stay() {
    let folder = Folder::new();
    let store = folder.open();
    store.save(&record(3), Some("{}")).unwrap();
    store.append(&[event(Fact::AppUp)]).unwrap();
    store.forget(&app_name()).unwrap();
    assert_eq!(store.apps(), Ok(Vec::new()));
    assert_eq!(store.events(&app_name(), None, 10).unwrap().len(), 1);
    store.save(&record(1), Some("{}")).unwrap();
    assert_eq!(store.apps(), Ok(vec![(record(1), "{}".to_owned())]));
}

#[test]
fn every_fact_is_read_back_as_it_was_appended() {
    let folder = Folder::new();
    let events: Vec<Event> = facts().into_iter().map(event).collect();
    folder.open().append(&events).unwrap();
    let stored = folder.open().events(&app_name(), Some(0), 100).unwrap();
    let read: Vec<Event> = stored.into_iter().map(|stored| stored.event).collect();
    assert_eq!(read, events);
}

#[test]
fn events_are_paged_by_number_and_the_oldest_beyond_the_bound_are_dropped() {
    let folder = Folder::new();
    let store = folder.open();
    let many: Vec<Event> = (0..EVENTS_MAX + 5)
        .map(|number| event(Fact::ServiceScaled(number)))
        .collect();
    store.append(&many).unwrap();
    let scaled = |stored: &StoredEvent| {
        let Fact::ServiceScaled(count) = stored.event.fact else {
            panic!("{stored:?}")
        };
        count
    };
    let all = store.events(&app_name(), Some(0), usize::MAX).unwrap();
    assert_eq!(all.len(), EVENTS_MAX as usize);
    assert_eq!(scaled(&all[0]), 5);
    let newest = store.events(&app_name(), None, 2).unwrap();
    assert_eq!(
        newest.iter().map(scaled).collect::<Vec<_>>(),
        [EVENTS_MAX + 3, EVENTS_MAX + 4]
    );
    let next = store.events(&app_name(), Some(newest[0].number), 9);
    assert_eq!(next, Ok(vec![newest[1].clone()]));
}

/// What opening `file` says, after a check that the file was not touched.
fn refused(folder: &Folder) -> String {
    let before = std::fs::read(folder.path()).unwrap();
    let error = SqliteStore::open(&folder.path()).unwrap_err().to_string();
    assert_eq!(std::fs::read(folder.path()).unwrap(), before, "{error}");
    error
}

#[test]
fn a_file_that_is_not_ours_is_refused_and_left_as_it_is() {
    let folder = Folder::new();
    std::fs::write(folder.path(), "dear diary, ".repeat(100)).unwrap();
    assert!(refused(&folder).contains("no SQLite file"));

    std::fs::remove_file(folder.path()).unwrap();
    let other = Connection::open(folder.path()).unwrap();
    other
        .execute_batch("CREATE TABLE diary (page TEXT)")
        .unwrap();
    drop(other);
    assert!(refused(&folder).contains("another program"));
}

#[test]
fn a_damaged_file_is_refused_and_left_as_it_is() {
    let folder = Folder::new();
    let store = folder.open();
    store.save(&record(1000), Some("{}")).unwrap();
    drop(store);
    let mut bytes = std::fs::read(folder.path()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0xa5);
    std::fs::write(folder.path(), bytes).unwrap();
    assert!(refused(&folder).contains("damaged"));
}

#[test]
fn a_file_of_a_newer_release_is_refused_in_words() {
    let folder = Folder::new();
    let store = folder.open();
    store
        .connection()
        .pragma_update(None, "user_version", schema::SCHEMA + 1)
        .unwrap();
    drop(store);
    assert!(refused(&folder).contains("newer release"));
}

#[test]
fn a_record_that_cannot_be_read_is_an_error_that_says_which() {
    let folder = Folder::new();
    let store = folder.open();
    store.save(&record(1), Some("{}")).unwrap();
    store
        .connection()
        .execute("UPDATE service SET address = '10.0.0.1'", [])
        .unwrap();
    let error = store.apps().unwrap_err().to_string();
    assert!(
        error.contains("address \"10.0.0.1\" is not known"),
        "{error}"
    );
}

#[test]
fn only_its_user_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    folder.open().save(&record(1), Some("{}")).unwrap();
    let mode = std::fs::metadata(folder.path())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn an_app_of_a_thousand_services_is_saved_and_read_back() {
    let folder = Folder::new();
    let store = folder.open();
    let app = record(1000);
    store.save(&app, Some("{}")).unwrap();
    let begin = Instant::now();
    store.save(&app, Some("{}")).unwrap();
    eprintln!("saving 1,000 services took {:?}", begin.elapsed());
    assert_eq!(store.apps(), Ok(vec![(app, "{}".to_owned())]));
}
