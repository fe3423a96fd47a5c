//! What Docker says, in the words of who asked for it.
//!
//! Docker's API answers with a status and a sentence; the sentences are matched where a person can
//! do something about it, and passed on where not.

use bollard::errors::Error;
use model::InstanceId;
use ports::EngineError;

use crate::engine::NAME;

/// Whether Docker says that there is no such thing.
pub(crate) fn is_absent(error: &Error) -> bool {
    status(error) == Some(404)
}

/// Whether Docker says that it is already so, or cannot be in the state that the thing is in.
pub(crate) fn is_conflict(error: &Error) -> bool {
    matches!(status(error), Some(304 | 409))
}

/// Docker's own sentence.
pub(crate) fn sentence(error: &Error) -> String {
    if let Error::DockerResponseServerError { message: said, .. }
    | Error::DockerStreamError { error: said } = error
    {
        return said.trim().to_owned();
    }
    chain(error)
}

/// The failure of something that was asked of Docker.
pub(crate) fn explain(what: impl Into<String>, error: &Error) -> EngineError {
    let (what, why) = (what.into(), sentence(error));
    if let Some(hint) = hint(&why) {
        return EngineError::Forbidden {
            what,
            why,
            hint: hint.to_owned(),
        };
    }
    if let Error::SocketNotFoundError(path) = error {
        return EngineError::Unreachable {
            engine: NAME,
            why: format!("there is no {path}"),
        };
    }
    let is_broken = matches!(
        error,
        Error::HyperLegacyError { .. } | Error::IOError { .. } | Error::HyperResponseError { .. }
    );
    if is_broken {
        return EngineError::Unreachable { engine: NAME, why };
    }
    EngineError::Failed { what, why }
}

/// The failure of something about an instance; that it is not there is one of its own.
pub(crate) fn about(id: &InstanceId, what: &str, error: &Error) -> EngineError {
    if is_absent(error) {
        return EngineError::NoInstance { id: id.clone() };
    }
    explain(format!("cannot {what} {id}"), error)
}

/// What a person can do about one of Docker's sentences.
fn hint(why: &str) -> Option<&'static str> {
    const HINTS: [(&str, &str); 9] = [
        (
            "no space left on device",
            "make room: `docker system df` says what takes it, `docker system prune` removes what nothing uses",
        ),
        (
            "permission denied while trying to connect",
            "run roads as root, or as a user of the group docker",
        ),
        (
            "Permission denied (os error 13)",
            "Docker's socket is closed to this user: run roads as root",
        ),
        (
            "is already in use by container",
            "that container is not this daemon's: rename or remove it, or take its app down where it was brought up",
        ),
        (
            "port is already allocated",
            "something else listens there: `ss -ltnp` says which process",
        ),
        (
            "could not find an available, non-overlapping IPv4 address pool",
            "remove networks that nothing uses (`docker network prune`), or give Docker more addresses (`default-address-pools` in its daemon.json)",
        ),
        (
            "bind source path does not exist",
            "make it, or write the mount in the short syntax, which makes it",
        ),
        (
            "no matching manifest for",
            "the image is not made for this machine's processor: choose another tag, or set `platform`",
        ),
        (
            "exec format error",
            "the image is for another processor than this machine's",
        ),
    ];
    let found = HINTS.iter().find(|(part, _)| why.contains(part));
    found.map(|&(_, hint)| hint)
}

fn status(error: &Error) -> Option<u16> {
    if let Error::DockerResponseServerError { status_code, .. } = error {
        return Some(*status_code);
    }
    None
}

/// An error with its causes, since bollard's own words stop at the first.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !words.contains(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
        source = cause.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(status_code: u16, message: &str) -> Error {
        let message = message.to_owned();
        Error::DockerResponseServerError {
            status_code,
            message,
        }
    }

    #[test]
    fn what_a_person_must_change_says_what_to_do() {
        for (status, message, part) in [
            (
                500,
                "write /x: no space left on device",
                "docker system prune",
            ),
            (
                409,
                "Conflict. The container name \"/a-b-1\" is already in use by container \"c\".",
                "not this daemon's",
            ),
            (
                400,
                "invalid mount config for type \"bind\": bind source path does not exist: /x",
                "short syntax",
            ),
            (
                404,
                "no matching manifest for linux/arm64/v8 in the manifest list entries",
                "processor",
            ),
        ] {
            let error = explain("cannot start demo/a/1", &server(status, message));
            assert!(matches!(error, EngineError::Forbidden { .. }), "{error}");
            let words = error.to_string();
            assert!(words.contains(part) && words.contains(message), "{words}");
        }
    }

    #[test]
    fn what_may_pass_by_itself_is_not_forbidden() {
        let error = explain("cannot stop", &server(500, "something odd"));
        assert!(matches!(error, EngineError::Failed { .. }));
        let id = InstanceId::parse("demo/a/1").unwrap();
        let error = about(&id, "stop", &server(404, "No such container: x"));
        assert_eq!(error, EngineError::NoInstance { id });
        let gone = Error::SocketNotFoundError("/run/docker.sock".to_owned());
        let error = explain("cannot list", &gone);
        assert!(matches!(error, EngineError::Unreachable { .. }));
    }
}
