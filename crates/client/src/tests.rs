//! The client against a socket that answers with what a test says, cut where it says.

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::*;

/// Answers one request with these pieces, and closes.
struct Daemon {
    folder: TempDir,
    listener: UnixListener,
}

impl Daemon {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        Self { folder, listener }
    }

    fn client(&self) -> Client {
        Client::new(&self.folder.path().join("s"))
    }

    /// What was asked, as far as it came at once.
    async fn answer(&self, pieces: &[&str]) -> String {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let mut asked = Vec::new();
        stream.read_buf(&mut asked).await.unwrap();
        for piece in pieces {
            stream.write_all(piece.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
        String::from_utf8(asked).unwrap()
    }
}

const LINES: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

fn event(number: u64) -> String {
    format!(
        r#"{{"number":{number},"at":"2026-01-01T00:00:00Z","app":"a","fact":"app_up","text":"is up"}}"#
    )
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// The numbers of the events that come, and what ended them.
async fn numbers(client: &Client) -> (Vec<u64>, Result<(), ClientError>) {
    let mut numbers = Vec::new();
    let mut events = match client.events("a", EventsQuery::default()).await {
        Ok(events) => events,
        Err(error) => return (numbers, Err(error)),
    };
    loop {
        match events.next().await {
            Ok(Some(event)) => numbers.push(event.number),
            Ok(None) => return (numbers, Ok(())),
            Err(error) => return (numbers, Err(error)),
        }
    }
}

#[tokio::test]
async fn lines_are_whole_wherever_they_are_cut() {
    let text = format!("{}\n{}\n{}\n", event(1), event(2), event(3));
    for cut in [1, 40, text.len() / 2, text.len() - 1] {
        let daemon = Daemon::new();
        let (client, (first, second)) = (daemon.client(), text.split_at(cut));
        let (first, second) = (chunk(first), chunk(second));
        let pieces = [LINES, &first, &second, "0\r\n\r\n"];
        let (asked, (numbers, end)) = tokio::join!(daemon.answer(&pieces), numbers(&client));
        assert!(
            asked.starts_with("GET /v1/apps/a/events?follow=false HTTP/1.1\r\n"),
            "{asked}"
        );
        assert_eq!(numbers, [1, 2, 3], "{cut}");
        assert!(end.is_ok(), "{end:?}");
    }
}

#[tokio::test]
async fn a_stream_that_fails_ends_with_the_failure_and_one_that_breaks_off_is_no_end() {
    let failure = r#"{"error":{"kind":"failed","message":"it broke"}}"#;
    let failed = chunk(&format!("{}\n{failure}\n", event(1)));
    let broken = chunk(&format!("{}\n", event(1)));
    for (pieces, words) in [
        ([LINES, &failed, "0\r\n\r\n"], "it broke"),
        ([LINES, &broken, ""], "broke off"),
    ] {
        let daemon = Daemon::new();
        let client = daemon.client();
        let (_, (numbers, end)) = tokio::join!(daemon.answer(&pieces), numbers(&client));
        assert_eq!(numbers, [1]);
        assert!(end.unwrap_err().to_string().contains(words), "{words}");
    }
}

#[tokio::test]
async fn what_is_refused_is_told_as_the_daemon_says_it() {
    let refusal = r#"{"error":{"kind":"not_found","message":"no such app","hint":"look"}}"#;
    for (body, words) in [(refusal, "no such app"), ("not JSON", "another release")] {
        let daemon = Daemon::new();
        let (client, length) = (daemon.client(), body.len());
        let answer = format!("HTTP/1.1 404 Not Found\r\nContent-Length: {length}\r\n\r\n{body}");
        let pieces = [answer.as_str()];
        let (_, error) = tokio::join!(daemon.answer(&pieces), client.status("a"));
        let error = error.unwrap_err();
        assert!(matches!(&error, ClientError::Refused(_)), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn nobody_there_is_told_with_the_socket() {
    let client = Client::new(Path::new("/nowhere/roads.sock"));
    let error = client.info().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no daemon answers at /nowhere/roads.sock"
    );
}
