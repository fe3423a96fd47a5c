//! Descriptors that a daemon leaves here under a name, for the daemon after it: the machine's
//! listeners, above all, so that no connection is refused in between.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

/// How many descriptors are held in all.
const DESCRIPTORS_MAX: usize = 512;

/// What is held.
#[derive(Debug, Default)]
pub(crate) struct Deposits {
    by_name: BTreeMap<String, Vec<OwnedFd>>,
}

/// More was brought than is held.
#[derive(Debug, thiserror::Error)]
#[error("at most {DESCRIPTORS_MAX} descriptors are held")]
pub(crate) struct TooMany;

impl Deposits {
    /// Holds these under a name, instead of those held under it before.
    pub(crate) fn deposit(
        &mut self,
        name: String,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), TooMany> {
        let others = self.by_name.iter().filter(|(other, _)| **other != name);
        let held: usize = others.map(|(_, held)| held.len()).sum();
        if held + descriptors.len() > DESCRIPTORS_MAX {
            return Err(TooMany);
        }
        self.by_name.insert(name, descriptors);
        Ok(())
    }

    /// Under which names something is held.
    pub(crate) fn names(&self) -> Vec<String> {
        self.by_name.keys().cloned().collect()
    }

    /// Duplicates of what is held under a name, in the order it was brought.
    pub(crate) fn duplicates(&self, name: &str) -> io::Result<Vec<OwnedFd>> {
        let held = self
            .by_name
            .get(name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        held.iter().map(OwnedFd::try_clone).collect()
    }

    pub(crate) fn withdraw(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}
