//! Deleting what nobody needs any more, without waiting for the disk: what goes is renamed into
//! the trash at once and deleted by a child.

use std::fs;
use std::path::Path;

use super::{Keeper, Source};
use crate::sandbox::clone::{self, Side};

impl Keeper {
    /// Takes a directory away. A failure is written down: what stays is in nobody's way.
    pub(super) fn throw_away(&mut self, path: &Path) {
        if !path.exists() {
            return;
        }
        let key = self.key();
        // On the same file system, which memory mounted over the instances is not.
        let place = match path.starts_with(self.machine.home.instances()) {
            true => self.machine.home.instances().join(".trash"),
            false => self.machine.home.trash(),
        };
        let name = format!("{}-{key}", std::process::id());
        let moved =
            crate::home::make_private(&place).and_then(|()| fs::rename(path, place.join(name)));
        match moved {
            Ok(()) => self.empty(&place),
            Err(error) => eprintln!("cannot take {} away: {error}", path.display()),
        }
    }

    /// Takes away what instances of a keeper before this one left, and what it had not deleted.
    pub(super) fn sweep_instances(&mut self) {
        let instances = self.machine.home.instances();
        for entry in fs::read_dir(&instances).into_iter().flatten().flatten() {
            if entry.file_name() != ".trash" {
                self.throw_away(&entry.path());
            }
        }
        let trash = self.machine.home.trash();
        self.empty(&trash);
    }

    fn empty(&mut self, trash: &Path) {
        if fs::read_dir(trash).is_ok_and(|mut entries| entries.next().is_none()) {
            return;
        }
        // SAFETY: the keeper has one thread.
        match unsafe { clone::clone(0, None) } {
            Ok(Side::Child) => {
                clone::close_all_but(&[]);
                for entry in fs::read_dir(trash).into_iter().flatten().flatten() {
                    let _ = fs::remove_dir_all(entry.path());
                }
                clone::leave(0)
            }
            Ok(Side::Parent { pidfd, .. }) => {
                let key = self.key();
                if self.watch(&pidfd, Source::Sweeper, key).is_ok() {
                    self.sweepers.insert(key, pidfd);
                }
            }
            Err(errno) => eprintln!("cannot empty {}: {errno}", trash.display()),
        }
    }
}
