//! A store in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::{AppName, Event};
use ports::{AppRecord, Store, StoreError, StoredEvent};

/// Remembers as long as it lives; a test that restarts the daemon keeps it.
#[derive(Debug, Default)]
pub struct FakeStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    apps: BTreeMap<AppName, (AppRecord, String)>,
    events: Vec<StoredEvent>,
    failing: Option<StoreError>,
}

impl FakeStore {
    /// From now on everything fails like this; `None` mends it.
    pub fn fail(&self, error: Option<StoreError>) {
        self.state().failing = error;
    }

    /// Everything that was appended.
    #[must_use]
    pub fn all_events(&self) -> Vec<Event> {
        let state = self.state();
        state
            .events
            .iter()
            .map(|stored| stored.event.clone())
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn working(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state();
        match &state.failing {
            Some(error) => Err(error.clone()),
            None => Ok(state),
        }
    }
}

impl Store for FakeStore {
    fn apps(&self) -> Result<Vec<(AppRecord, String)>, StoreError> {
        Ok(self.working()?.apps.values().cloned().collect())
    }

    fn save(&self, app: &AppRecord, document: Option<&str>) -> Result<(), StoreError> {
        let apps = &mut self.working()?.apps;
        match (document, apps.get_mut(&app.name)) {
            (Some(document), _) => {
                apps.insert(app.name.clone(), (app.clone(), document.to_owned()));
            }
            (None, Some((known, _))) => *known = app.clone(),
            (None, None) => {}
        }
        Ok(())
    }

    fn forget(&self, app: &AppName) -> Result<(), StoreError> {
        self.working()?.apps.remove(app);
        Ok(())
    }

    fn append(&self, events: &[Event]) -> Result<(), StoreError> {
        let mut state = self.working()?;
        for event in events {
            let number = state.events.len() as u64 + 1;
            let event = event.clone();
            state.events.push(StoredEvent { number, event });
        }
        Ok(())
    }

    fn events(
        &self,
        app: &AppName,
        after: Option<u64>,
        count_max: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let state = self.working()?;
        let wanted = |stored: &&StoredEvent| {
            stored.event.app == *app && after.is_none_or(|after| stored.number > after)
        };
        let mut events: Vec<_> = state.events.iter().filter(wanted).cloned().collect();
        match after {
            Some(_) => events.truncate(count_max),
            None => drop(events.drain(..events.len().saturating_sub(count_max))),
        }
        Ok(events)
    }
}
