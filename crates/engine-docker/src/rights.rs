//! What the daemon itself must be allowed, and the sentence when it is not.

use std::fs;

use ports::EngineError;

/// `CAP_NET_ADMIN`, `CAP_SYS_PTRACE`, `CAP_SYS_ADMIN` of `linux/capability.h`.
const NEEDED: [(u32, &str); 3] = [
    (12, "CAP_NET_ADMIN"),
    (19, "CAP_SYS_PTRACE"),
    (21, "CAP_SYS_ADMIN"),
];

/// Whether this process may enter containers' network namespaces.
///
/// # Errors
/// [`EngineError::Forbidden`] with what it lacks.
pub(crate) fn check() -> Result<(), EngineError> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    match missing(&status).as_slice() {
        [] => Ok(()),
        missing => Err(EngineError::Forbidden {
            what: "cannot use the engine docker".to_owned(),
            why: format!(
                "to install ambassadors in containers' network namespaces the daemon needs {}",
                missing.join(", ")
            ),
            hint: "run roads as root; what runs in the containers gets no right by it".to_owned(),
        }),
    }
}

/// The needed capabilities that a process with this `/proc/PID/status` does not have in effect.
fn missing(status: &str) -> Vec<&'static str> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    let effective = effective.unwrap_or_default();
    let lacks = |&&(bit, _): &&(u32, _)| effective & (1 << bit) == 0;
    NEEDED.iter().filter(lacks).map(|&(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(
            missing("Name:\troads\nCapEff:\t000001ffffffffff\n"),
            [""; 0]
        );
        assert_eq!(missing("CapEff:\t0000000000000000\n").len(), 3);
        // As Docker's default set has it.
        assert_eq!(missing("CapEff:\t00000000a80425fb\n").len(), 3);
    }
}
