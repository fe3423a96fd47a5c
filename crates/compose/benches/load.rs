//! What loading and resolving many services costs, and what their document costs, beside the plain
//! parse of the document as JSON in the same run. The best of each counts; loading holds two.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use compose::{ReadFile, ReadFileError, Request, Source, document, load, load_document};

/// One of many, with what services commonly say.
const SERVICE: &str = "
    <<: *common
    command: [run, --port, \"${PORT:-80}\"]
    environment: { A: 1, B: \"$HOME\", C: x }
    expose: [80]
    networks: [front]
    volumes: [\"data:/data\", \"./x:/x:ro\"]
    healthcheck: { test: [CMD, check], interval: 10s }
    deploy: { replicas: 2, resources: { limits: { memory: 1g } } }
    logging: { driver: json-file }
    x-roads: { activation: { mode: on-demand, idle: 5m } }
";

struct NoFiles;

impl ReadFile for NoFiles {
    fn read(&self, _: &Path) -> Result<String, ReadFileError> {
        Err(ReadFileError::Missing)
    }
}

fn main() {
    for services in [1_000, 10_000] {
        let request = request(services);
        let bytes = request.files[0].text.len();
        let (loaded, loading) = best(|| load(&request, &NoFiles).expect("the file is valid"));
        let memory = memory_max();
        let (_, printing) = best(|| loaded.resolved.yaml());
        let (text, writing) = best(|| document(&loaded.spec));
        let (read, reading) = best(|| load_document(&text).expect("the document is valid"));
        assert_eq!(read, loaded.spec);
        let (_, json) = best(|| serde_json::from_str::<serde_json::Value>(&text));
        let out = format!(
            "{services} services, {bytes} bytes: load {loading:.1?} ({memory}), as YAML \
             {printing:.1?}; document of {} bytes: write {writing:.1?}, read {reading:.1?}, as \
             JSON alone {json:.1?}; {}\n",
            text.len(),
            memory_max(),
        );
        std::io::Write::write_all(&mut std::io::stdout(), out.as_bytes()).expect("stdout is open");
    }
}

fn request(services: u32) -> Request {
    let mut text = "x-common: &common { image: host, restart: always }\nservices:\n".to_owned();
    for index in 0..services {
        write!(text, "  s{index}:{SERVICE}").expect("a string takes all");
        if index > 0 {
            writeln!(text, "    depends_on: [s{}]", index - 1).expect("a string takes all");
        }
    }
    text.push_str("networks: { front: }\nvolumes: { data: }\n");
    let mut request = Request::new(
        vec![Source {
            path: "compose.yaml".into(),
            text,
        }],
        "/app".into(),
    );
    request.environment.insert("HOME".into(), "/root".into());
    request
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn best<T>(mut run: impl FnMut() -> T) -> (T, Duration) {
    let mut timed = || {
        let start = Instant::now();
        let value = run();
        (value, start.elapsed())
    };
    let mut best = timed();
    for _ in 0..4 {
        let next = timed();
        if next.1 < best.1 {
            best = next;
        }
    }
    best
}

/// The most memory that the process had, as Linux tells it.
fn memory_max() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.unwrap_or("memory unknown").replace('\t', " ")
}
