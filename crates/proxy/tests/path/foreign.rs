//! Callers and endpoints that others have written: curl, and the gRPC of Debian's `python3-grpcio`.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use model::Protocol;

use crate::bed::{Bed, Instance, service, with_namespaces};
use crate::peer2::answering;
use crate::server::Server;

/// Debian's own: others in the PATH may not have its modules.
const PYTHON: &str = "/usr/bin/python3";

/// Whether a test that needs a program can run; in CI it must.
fn is_there(what: &str, command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    if status.is_ok_and(|status| status.success()) {
        return true;
    }
    eprintln!("skipped: {what} is not installed");
    assert_ne!(
        std::env::var("CI").as_deref(),
        Ok("true"),
        "in CI nothing may be skipped"
    );
    false
}

#[test]
fn curl_speaks_http_2_to_services_of_either_protocol() {
    if !is_there("curl", Command::new("curl").arg("--version")) {
        return;
    }
    with_namespaces(|| {
        let bed = Bed::new(vec![
            service("old", 80, Protocol::Detect),
            service("new", 80, Protocol::Http2),
        ]);
        let (old, new) = (bed.instance("old", 1), bed.instance("new", 1));
        Server::answering(&old, 80, "by 1.1");
        answering(&new, 80, "by 2");
        bed.ready(&[&old, &new]);
        let ingress = bed.proxy.ingress().unwrap();
        let curl = |version: &str, service: &str| {
            let url = format!("http://{service}.app.localhost:{}/", ingress.port());
            let resolve = format!("{service}.app.localhost:{}:127.0.0.1", ingress.port());
            let output = Command::new("curl")
                .args(["-sS", version, "--resolve", &resolve, "-m", "20"])
                .args(["-w", " %{http_version} %{http_code}", &url])
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(curl("--http2-prior-knowledge", "old"), "by 1.1 2 200");
        assert_eq!(curl("--http2-prior-knowledge", "new"), "by 2 2 200");
        assert_eq!(curl("--http1.1", "new"), "by 2 1.1 200");
        assert!(curl("--http2-prior-knowledge", "none").ends_with(" 2 404"));
    });
}

/// A gRPC server without generated code: bytes in, bytes out. `front` gives every call on to `back`.
const SERVICE: &str = r#"
import sys, grpc
from concurrent import futures
port, back = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
channel = grpc.insecure_channel(back) if back else None

def unary(request, context):
    if channel:
        # The caller's metadata and deadline go on; so does the error, by itself.
        call = channel.unary_unary("/t.T/Unary")
        try:
            reply, done = call.with_call(request, timeout=context.time_remaining() or 10)
        except grpc.RpcError as error:
            context.set_trailing_metadata(error.trailing_metadata())
            context.abort(error.code(), "front: " + error.details())
        context.set_trailing_metadata(done.trailing_metadata())
        return reply
    if request == b"fail":
        context.set_trailing_metadata((("x-why", "asked to"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "back: 100% \u00e4")
    context.set_trailing_metadata((("x-length", str(len(request))),))
    return request[::-1]

def up(requests, context):
    if channel:
        return channel.stream_unary("/t.T/Up")(requests)
    return b"%d" % sum(len(request) for request in requests)

def down(request, context):
    if channel:
        yield from channel.unary_stream("/t.T/Down")(request)
        return
    for number in range(int(request)):
        yield b"%d" % number

def both(requests, context):
    if channel:
        yield from channel.stream_stream("/t.T/Both")(requests)
        return
    for request in requests:
        yield request.upper()

server = grpc.server(futures.ThreadPoolExecutor(16))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Up": grpc.stream_unary_rpc_method_handler(up),
    "Down": grpc.unary_stream_rpc_method_handler(down),
    "Both": grpc.stream_stream_rpc_method_handler(both),
}),))
server.add_insecure_port("127.0.0.1:" + port)
server.start()
print("listening", flush=True)
sys.stdin.read()
"#;

const CLIENT: &str = r#"
import sys, grpc
channel = grpc.insecure_channel(sys.argv[1])
unary = channel.unary_unary("/t.T/Unary")
reply, call = unary.with_call(b"abc", timeout=20)
assert reply == b"cba", reply
assert dict(call.trailing_metadata())["x-length"] == "3", call.trailing_metadata()
large = b"x" * 3_000_000
assert unary(large, timeout=20) == large
try:
    unary(b"fail", timeout=20)
    raise SystemExit("it did not fail")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION, error
    assert error.details() == "front: back: 100% \u00e4", error.details()
    assert dict(error.trailing_metadata())["x-why"] == "asked to"
try:
    channel.unary_unary("/t.T/Unknown")(b"", timeout=20)
    raise SystemExit("it did not fail")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error
assert channel.stream_unary("/t.T/Up")((b"x" * n for n in range(100)), timeout=20) == b"4950"
numbers = [int(n) for n in channel.unary_stream("/t.T/Down")(b"500", timeout=20)]
assert numbers == list(range(500)), numbers
import queue
said = queue.Queue()
echo = channel.stream_stream("/t.T/Both")(iter(said.get, None), timeout=20)
for word in (b"one", b"two", b"three"):
    said.put(word)
    assert next(echo) == word.upper()
said.put(None)
assert list(echo) == []
# Many at once, on one connection.
calls = [unary.future(b"%d" % n, timeout=20) for n in range(500)]
assert [call.result() for call in calls] == [(b"%d" % n)[::-1] for n in range(500)]
print("done")
"#;

/// A program of Python inside an instance; its end of input ends it.
fn python(inside: &Instance, script: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new(PYTHON);
    command
        .args(["-c", script])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    inside.inside(|| command.spawn()).unwrap()
}

fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    line
}

#[test]
fn grpc_of_another_make_calls_and_is_called_through_two_hops() {
    if !is_there(
        "python3-grpcio",
        Command::new(PYTHON).args(["-c", "import grpc"]),
    ) {
        return;
    }
    for protocol in [Protocol::Http2, Protocol::Detect] {
        with_namespaces(|| {
            let bed = Bed::new(vec![
                service("front", 50051, protocol),
                service("back", 50052, protocol),
                service("client", 1, Protocol::Tcp),
            ]);
            let client = bed.instance("client", 1);
            let fronts = [bed.instance("front", 1), bed.instance("front", 2)];
            let backs = [bed.instance("back", 1), bed.instance("back", 2)];
            let address = |name, port| SocketAddr::from((bed.address(name).ip(), port)).to_string();
            let back = address("back", 50052);
            let mut servers = Vec::new();
            for instance in &backs {
                servers.push(python(instance, SERVICE, &["50052"]));
            }
            for instance in &fronts {
                servers.push(python(instance, SERVICE, &["50051", &back]));
            }
            for server in &mut servers {
                assert_eq!(first_line(server), "listening\n");
            }
            bed.ready(&[&fronts[0], &fronts[1], &backs[0], &backs[1]]);
            let mut calling = python(&client, CLIENT, &[&address("front", 50051)]);
            assert_eq!(first_line(&mut calling), "done\n");
            assert!(calling.wait().unwrap().success());
            for endpoint in fronts.iter().chain(&backs) {
                let calls = endpoint.endpoint.calls();
                // How many depends on how fast it is.
                assert!(calls > 5, "{} got {calls} of 508 calls", endpoint.id);
            }
            for mut server in servers {
                server.stdin.take().unwrap().flush().unwrap();
                server.kill().unwrap();
                server.wait().unwrap();
            }
        });
    }
}

#[test]
fn grpc_of_another_make_understands_why_it_is_refused() {
    if !is_there(
        "python3-grpcio",
        Command::new(PYTHON).args(["-c", "import grpc"]),
    ) {
        return;
    }
    const REFUSED: &str = r#"
import sys, grpc
try:
    grpc.insecure_channel(sys.argv[1]).unary_unary("/t.T/Unary")(b"", timeout=20)
except grpc.RpcError as error:
    print(error.code().name, error.details())
"#;
    with_namespaces(|| {
        let bed = Bed::new(vec![
            service("web", 80, Protocol::Http2),
            service("client", 1, Protocol::Tcp),
        ]);
        let client = bed.instance("client", 1);
        bed.refuse("its image is missing, 100%");
        let address = SocketAddr::from((bed.address("web").ip(), 80)).to_string();
        let mut calling = python(&client, REFUSED, &[&address]);
        let said = first_line(&mut calling);
        calling.wait().unwrap();
        let expected = "UNAVAILABLE app/web:80 is not available: its image is missing, 100%\n";
        assert_eq!(said, expected);
    });
}
