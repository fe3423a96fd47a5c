//! Which user and groups a program gets, by the instance's own `/etc/passwd` and `/etc/group`.

use std::fs;
use std::path::PathBuf;

use crate::failure::Failure;

/// The user ids that exist in a user namespace, as `/proc/self/uid_map` has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdMap {
    ranges: Vec<(u32, u32)>,
}

/// Who a program is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user: u32,
    pub(crate) group: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) home: PathBuf,
}

impl IdMap {
    /// Reads the first and third column: the ids as they are called inside.
    pub(crate) fn parse(text: &str) -> Self {
        let range = |line: &str| {
            let mut words = line.split_whitespace().map(str::parse);
            let first = words.next()?.ok()?;
            let count = words.nth(1)?.ok()?;
            Some((first, count))
        };
        Self {
            ranges: text.lines().filter_map(range).collect(),
        }
    }

    fn has(&self, id: u32) -> bool {
        self.ranges
            .iter()
            .any(|&(first, count)| id >= first && id - first < count)
    }

    /// Whether root is the only one.
    pub(crate) fn is_single(&self) -> bool {
        self.ranges == [(0, 1)]
    }

    /// The map of a child namespace that has the same ids. Where root is the only one, it is
    /// called `id` inside, so that a program may be who it wishes to be.
    pub(crate) fn child(&self, id: u32) -> String {
        if self.is_single() {
            return format!("{id} 0 1\n");
        }
        let line = |(first, count): &(u32, u32)| format!("{first} {first} {count}\n");
        self.ranges.iter().map(line).collect()
    }

    /// Refuses an id that there is not.
    pub(crate) fn check(&self, id: u32) -> Result<(), Failure> {
        if self.is_single() || self.has(id) {
            return Ok(());
        }
        Err(Failure::forbidden(
            format!("cannot run as user or group {id}"),
            "this id is not mapped into the user namespace of the instances",
            "give your user a longer range in /etc/subuid and /etc/subgid, then end the daemon",
        ))
    }
}

/// Resolves `USER[:GROUP]`, names or numbers; absent is root.
pub(crate) fn resolve(user: Option<&str>) -> Result<Identity, Failure> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let group = fs::read_to_string("/etc/group").unwrap_or_default();
    resolve_in(user.unwrap_or("0"), &passwd, &group)
}

fn resolve_in(wish: &str, passwd: &str, group: &str) -> Result<Identity, Failure> {
    let (user, wished_group) = match wish.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
        None => (wish, None),
    };
    let entry = lines(passwd).find(|fields| fields[0] == user || fields.get(2) == Some(&user));
    let number = |fields: &[&str], index: usize| fields.get(index).and_then(|f| f.parse().ok());
    let uid = entry
        .as_deref()
        .and_then(|e| number(e, 2))
        .or_else(|| user.parse().ok());
    let uid = uid.ok_or_else(|| unknown("user", user, "/etc/passwd"))?;
    let own_group = entry.as_deref().and_then(|e| number(e, 3)).unwrap_or(0);
    let gid = match wished_group {
        None => own_group,
        Some(name) => lines(group)
            .find(|fields| fields[0] == name)
            .and_then(|fields| number(&fields, 2))
            .or_else(|| name.parse().ok())
            .ok_or_else(|| unknown("group", name, "/etc/group"))?,
    };
    let name = entry.as_deref().map_or(user, |e| e[0]);
    let member = |fields: &Vec<&str>| {
        fields
            .get(3)
            .is_some_and(|members| members.split(',').any(|m| m == name))
    };
    let groups = match wished_group {
        // As Docker: a named group is the only one.
        Some(_) => vec![gid],
        None => lines(group)
            .filter(member)
            .filter_map(|f| number(&f, 2))
            .chain([gid])
            .collect(),
    };
    let home = entry
        .as_deref()
        .and_then(|e| e.get(5))
        .filter(|home| !home.is_empty());
    Ok(Identity {
        user: uid,
        group: gid,
        groups,
        home: home.map_or("/", |home| home).into(),
    })
}

fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect())
}

fn unknown(kind: &str, name: &str, file: &str) -> Failure {
    Failure::forbidden(
        format!("cannot run as {kind} {name}"),
        format!("the instance's {file} has no such {kind}"),
        format!("name a {kind} that {file} has, or use a number"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv/web:/bin/false\n";
    const GROUP: &str = "root:x:0:\nweb:x:34:\nlogs:x:4:syslog,web\n";

    #[test]
    fn users_and_groups_are_found_by_name_and_number() {
        for (wish, user, group, groups, home) in [
            ("0", 0, 0, vec![0], "/root"),
            ("web", 33, 34, vec![4, 34], "/srv/web"),
            ("33", 33, 34, vec![4, 34], "/srv/web"),
            ("web:logs", 33, 4, vec![4], "/srv/web"),
            ("1234:99", 1234, 99, vec![99], "/"),
            ("1234", 1234, 0, vec![0], "/"),
        ] {
            let home = PathBuf::from(home);
            let expected = Identity {
                user,
                group,
                groups,
                home,
            };
            assert_eq!(resolve_in(wish, PASSWD, GROUP), Ok(expected), "{wish}");
        }
        assert!(resolve_in("nobody-here", PASSWD, GROUP).is_err());
        assert!(resolve_in("web:nope", PASSWD, GROUP).is_err());
    }

    #[test]
    fn a_child_has_the_ids_of_its_parent() {
        let full = IdMap::parse("         0          0 4294967295\n");
        assert_eq!(full.child(0), "0 0 4294967295\n");
        let ranged = IdMap::parse("0 1000 1\n1 100000 65536\n");
        assert_eq!(ranged.child(33), "0 0 1\n1 1 65536\n");
        assert!(ranged.check(65536).is_ok());
        assert!(ranged.check(65537).is_err());
        let single = IdMap::parse("0 1000 1\n");
        assert!(single.is_single());
        assert_eq!(single.child(33), "33 0 1\n");
    }
}
