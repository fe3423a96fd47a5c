//! The API over a real socket, around a real control of fake parts.

mod fake;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use api::{Exit, Frame, Operation};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Listener, Parts, Server};

/// A server that runs until it is dropped.
struct World {
    folder: TempDir,
    leave: CancellationToken,
    tasks: JoinSet<()>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (control, run) = fake::control();
        let leave = CancellationToken::new();
        let server = Server::new(Parts {
            control,
            release: "1.2.3",
            ingress_port: Some(7080),
            leave: leave.clone(),
        });
        let listener = Listener::bind(&folder.path().join("s")).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(run);
        tasks.spawn(server.serve(listener));
        Self {
            folder,
            leave,
            tasks,
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// Sends a request; the status and the JSON values of the answer.
    async fn send(
        &mut self,
        operation: Operation,
        path: &str,
        body: Value,
    ) -> (StatusCode, Vec<Value>) {
        let stream = UnixStream::connect(self.socket()).await.unwrap();
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        self.tasks.spawn(async { drop(connection.await) });
        let method = match operation.method {
            api::Method::Get => "GET",
            api::Method::Post => "POST",
        };
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Body::from(body.to_string())).unwrap();
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        let bytes = axum::body::to_bytes(Body::new(body), usize::MAX)
            .await
            .unwrap();
        let values = serde_json::Deserializer::from_slice(&bytes).into_iter();
        (head.status, values.map(Result::unwrap).collect())
    }

    async fn ask(&mut self, operation: Operation, service: &str, body: Value) -> Vec<Value> {
        let path = operation.at("coins", service);
        let (status, values) = self.send(operation, &path, body).await;
        assert_eq!(status, StatusCode::OK, "{path}: {values:#?}");
        values
    }

    async fn refusal(&mut self, operation: Operation, path: &str, body: Value) -> (u16, Value) {
        let (status, values) = self.send(operation, path, body).await;
        assert!(!status.is_success(), "{path}: {values:#?}");
        (status.as_u16(), values[0]["error"].clone())
    }

    async fn up(&mut self, compose: &str) -> Vec<Value> {
        self.ask(api::UP, "", json!({ "document": document(compose) }))
            .await
    }
}

/// The resolved document of a compose file.
fn document(text: &str) -> String {
    struct Nothing;
    impl compose::ReadFile for Nothing {
        fn read(&self, _path: &std::path::Path) -> Result<String, compose::ReadFileError> {
            Err(compose::ReadFileError::Missing)
        }
    }
    let source = compose::Source {
        path: "compose.yaml".into(),
        text: text.to_owned(),
    };
    let request = compose::Request::new(vec![source], "/coins".into());
    compose::document(&compose::load(&request, &Nothing).unwrap().spec)
}

const COINS: &str = "
services:
  rng: { image: host, command: x, expose: [80], x-roads: { owner: team } }
  hasher: { image: host, command: x, ports: ['8080:80'] }
";

#[tokio::test]
async fn up_tells_the_plan_then_how_the_app_is_until_it_is_ready() {
    let mut world = World::new();
    let lines = world.up(COINS).await;
    let created = |service| json!({ "service": service, "change": "create", "revision": 1 });
    assert_eq!(
        lines[0],
        json!({ "plan": [created("hasher"), created("rng")] })
    );
    assert_eq!(lines.last(), Some(&json!({ "done": {} })));
    let services = &lines[lines.len() - 2]["status"]["services"];
    assert_eq!(services[0]["state"], "running", "{lines:#?}");
    assert_eq!(services[1]["url"], "http://rng.coins.localhost:7080/");
    assert_eq!(services[1]["owner"], "team");

    let other = COINS.replace("command: x, expose", "command: y, expose");
    let lines = world.up(&other.replace("hasher", "webui")).await;
    let changes = |change: &Value| (change["service"].clone(), change["change"].clone());
    let plan: Vec<_> = lines[0]["plan"]
        .as_array()
        .unwrap()
        .iter()
        .map(changes)
        .collect();
    let expected = [
        ("hasher", "remove"),
        ("rng", "replace"),
        ("webui", "create"),
    ];
    assert_eq!(plan, expected.map(|(a, b)| (json!(a), json!(b))));
}

#[tokio::test]
async fn an_app_is_scaled_explained_stopped_and_taken_down() {
    let mut world = World::new();
    world.up(COINS).await;
    let lines = world
        .ask(api::SCALE, "", json!({ "scale": { "rng": 3 } }))
        .await;
    let rng = &lines[lines.len() - 2]["status"]["services"][1];
    assert_eq!((&rng["ready"], &rng["wanted"]), (&json!(3), &json!(3)));
    let explained = world.ask(api::EXPLAIN, "rng", json!({})).await;
    assert_eq!(explained[0]["status"]["name"], "rng");
    let apps = world.ask(api::APPS, "", json!({})).await;
    let coins = json!({ "name": "coins", "state": "up", "services": 2, "ready": 2 });
    assert_eq!(apps, [json!({ "apps": [coins] })]);
    let lines = world.ask(api::STOP, "", json!({})).await;
    assert_eq!(
        lines[lines.len() - 2]["status"]["services"][0]["state"],
        "stopped"
    );
    assert_eq!(
        world.ask(api::APPS, "", json!({})).await[0]["apps"][0]["state"],
        "stopped"
    );
    let lines = world
        .ask(api::DOWN, "", json!({ "volumes": "remove" }))
        .await;
    assert_eq!(lines.last(), Some(&json!({ "done": {} })));
    let (status, _) = world
        .refusal(api::STATUS, "/v1/apps/coins", json!({}))
        .await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_service_that_cannot_be_started_does_not_hold_up_the_answer() {
    let mut world = World::new();
    let text = format!(
        "services: {{ a: {{ image: host, command: {} }} }}",
        fake::FAILS
    );
    let lines = world.up(&text).await;
    assert_eq!(lines.last(), Some(&json!({ "done": {} })));
    let service = &lines[lines.len() - 2]["status"]["services"][0];
    assert_eq!(service["stage"], "stuck", "{lines:#?}");
    assert!(service["reasons"].to_string().contains("code 3"));
}

#[tokio::test]
async fn what_is_not_valid_or_not_there_is_refused_in_one_form() {
    let mut world = World::new();
    world.up(COINS).await;
    let of = |operation: Operation, app: &str| operation.at(app, "nobody");
    let empty = || json!({});
    let document = json!({ "document": document(COINS) });
    let named = json!({ "services": ["nobody"] });
    for (operation, app, body, status, words) in [
        (api::STATUS, "nobody", empty(), 404, "nobody"),
        (api::DOWN, "nobody", empty(), 404, "nobody"),
        (api::EXPLAIN, "coins", empty(), 404, "hasher, rng"),
        (api::WAKE, "coins", named.clone(), 404, "hasher, rng"),
        (
            api::SCALE,
            "coins",
            json!({ "scale": { "rng": -1 } }),
            400,
            "body",
        ),
        (api::STOP, "coins", json!({ "sevices": [] }), 400, "sevices"),
        (api::STATUS, "Not.A.Name", empty(), 400, "a-z"),
        (
            api::UP,
            "coins",
            json!({ "document": "{" }),
            400,
            "document",
        ),
        (api::UP, "other", document, 400, "coins"),
        (api::EXEC, "coins", empty(), 400, "roads-exec/1"),
    ] {
        let (got, error) = world.refusal(operation, &of(operation, app), body).await;
        let what = format!("{} {app}: {error}", operation.id);
        assert_eq!(got, status, "{what}");
        assert!(error["message"].as_str().unwrap().contains(words), "{what}");
    }
    let (status, error) = world.refusal(api::INFO, "/v2/nothing", empty()).await;
    assert_eq!((status, &error["kind"]), (404, &json!("not_found")));
    let (_, error) = world
        .refusal(api::UP, "/v1/apps/coins/up", json!({ "document": "{" }))
        .await;
    assert!(
        error["diagnostics"]
            .as_array()
            .is_some_and(|list| !list.is_empty()),
        "{error}"
    );
}

#[tokio::test]
async fn every_operation_has_a_route() {
    let mut world = World::new();
    for operation in api::ALL {
        let path = operation.at("nobody", "nothing");
        let (status, values) = world.send(operation, &path, json!({})).await;
        let text = format!("{} {status} {values:?}", operation.id);
        assert!(!text.contains("no such operation"), "{text}");
        assert!(!text.contains("another method"), "{text}");
        if operation.id == api::SHUTDOWN.id {
            world = World::new();
        }
    }
}

#[tokio::test]
async fn logs_and_events_come_line_by_line() {
    let mut world = World::new();
    world.up(COINS).await;
    let path = "/v1/apps/coins/logs?services=rng&tail=2&since=1970-01-01T00:00:01Z";
    let (_, lines) = world.send(api::LOGS, path, json!({})).await;
    let line = |text| {
        json!({
            "at": "1970-01-01T00:00:01.000000Z",
            "service": "rng",
            "instance": 1,
            "source": "output",
            "text": text,
        })
    };
    assert_eq!(lines, [line("line 1"), line("line 2")]);
    let (_, events) = world
        .send(api::EVENTS, "/v1/apps/coins/events", json!({}))
        .await;
    assert!(
        events.iter().any(|event| event["fact"] == "app_up"),
        "{events:#?}"
    );
    let newest = &events.last().unwrap()["number"];
    let path = format!("/v1/apps/coins/events?after={newest}");
    let (_, none) = world.send(api::EVENTS, &path, json!({})).await;
    assert!(none.is_empty(), "{none:#?}");
}

#[tokio::test]
async fn a_server_that_leaves_ends_its_streams_and_removes_its_socket() {
    let mut world = World::new();
    world.up(COINS).await;
    let mut stream = UnixStream::connect(world.socket()).await.unwrap();
    let request = "GET /v1/apps/coins/logs?follow=true HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains("line 3") {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
    }
    world.leave.cancel();
    stream.read_to_end(&mut read).await.unwrap();
    let text = String::from_utf8_lossy(&read);
    assert!(text.contains("\"kind\":\"leaving\""), "{text}");
    let socket = world.socket();
    while socket.exists() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn only_its_user_can_open_the_socket_and_one_left_behind_is_replaced() {
    let mut world = World::new();
    let mode = world.socket().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let left = world.folder.path().join("left");
    drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
    assert!(Listener::bind(&left).is_ok());
    let info = world.ask(api::INFO, "", json!({})).await;
    assert_eq!(info[0]["version"], "1.2.3");
    assert_eq!(info[0]["shortcomings"][0], "nothing is real");
}

/// An upgraded connection, after the answer's head.
async fn exec(world: &World, argv: &[&str]) -> (UnixStream, Vec<u8>) {
    let mut stream = UnixStream::connect(world.socket()).await.unwrap();
    let body = json!({ "argv": argv }).to_string();
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: {}\r\nContent-Length: {}\r\n\r\n{body}",
        api::EXEC.at("coins", "rng"),
        api::UPGRADE,
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).into_owned();
            assert!(head.starts_with("HTTP/1.1 101"), "{head}");
            return (stream, read.split_off(end + 4));
        }
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
    }
}

/// What a command wrote, what it wrote as errors, and how it ended.
async fn outcome(mut stream: UnixStream, mut read: Vec<u8>) -> (Vec<u8>, Vec<u8>, Exit) {
    let (mut output, mut error) = (Vec::new(), Vec::new());
    loop {
        while let Some((frame, length)) = Frame::decode(&read).unwrap() {
            match frame {
                Frame::Output(bytes) => output.extend(bytes),
                Frame::Error(bytes) => error.extend(bytes),
                Frame::Exited(json) => {
                    return (output, error, serde_json::from_slice(json).unwrap());
                }
                Frame::Input(_) | Frame::Resize(_) | Frame::Failed(_) => panic!("{frame:?}"),
            }
            read.drain(..length);
        }
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_command_gets_its_input_and_its_output_comes_whole_before_its_end() {
    let mut world = World::new();
    world.up(COINS).await;
    let (mut stream, read) = exec(&world, &["sh", "-c", "cat; echo no >&2; exit 3"]).await;
    let big = vec![b'x'; 300_000];
    let mut bytes = Vec::new();
    for chunk in big.chunks(api::FRAME_MAX) {
        Frame::Input(chunk).encode(&mut bytes);
    }
    Frame::Input(&[]).encode(&mut bytes);
    let (mut reader, mut writer) = stream.split();
    let mut said = Vec::new();
    let (sent, received) = tokio::join!(writer.write_all(&bytes), async {
        while said.len() < big.len() / 2 {
            reader.read_buf(&mut said).await?;
        }
        std::io::Result::Ok(())
    });
    sent.and(received).unwrap();
    let (output, error, exit) = outcome(stream, [read, said].concat()).await;
    assert_eq!(output.len(), big.len());
    assert_eq!(error, b"no\n");
    assert_eq!(exit.code, Some(3));
}

#[tokio::test]
async fn a_command_dies_with_its_caller() {
    let mut world = World::new();
    world.up(COINS).await;
    let (mut stream, mut read) = exec(&world, &["sh", "-c", "echo $$; exec sleep 1000"]).await;
    while Frame::decode(&read).unwrap().is_none() {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
    }
    let pid = String::from_utf8_lossy(&read[5..]).trim().to_owned();
    let process = PathBuf::from(format!("/proc/{pid}/cmdline"));
    let runs = || std::fs::read(&process).is_ok_and(|line| line.starts_with(b"sleep"));
    drop(stream);
    while runs() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
