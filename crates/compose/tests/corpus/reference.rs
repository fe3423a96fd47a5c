//! The same files by another program: docker-compose 1.29, as Debian packages it.
//!
//! What it makes of a file is a compose file again, in which files are merged, services extended,
//! variables and paths replaced. Ours reads that and must come to the resolved form that it gives
//! to the file itself. So what the other program passes on in short syntax is not compared; all
//! that it decides is. Normalised beforehand, and only this:
//! - its folder is `/app`, as ours believes to be;
//! - it has no name for the app: it gets ours;
//! - `volumes_from` has `service:` before the names of services;
//!   and `:rw` after them, which is what they have anyway;
//! - where order means nothing, lists are sorted;
//! - a mapping that says nothing is as good as none, and 1 is 1.0.
//!
//! Every difference stands in [`EXPLAINED`], every file that it refuses in [`REFUSED`]; a row that
//! explains nothing any more fails the test.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use compose::{Request, Source, load};
use serde_json::{Value, json};

use super::case::{Case, ENVIRONMENT, cases, tests};
use super::{loaded, told};

const DOCKER_COMPOSE: &str = "/usr/bin/docker-compose";
/// What Debian's package runs with; another Python does not see it.
const PYTHON: &str = "/usr/bin/python3";

/// A difference, and why ours is right: case (`*` is every), path, reason.
const EXPLAINED: &[(&str, &str, &str)] = &[
    ("build-long", "services.*.build.args.NOWHERE", UNSET),
    ("dotenv", "services.web.labels.refers", OUTER_FIRST),
    ("extends-file", "services.again.labels.app", NO_NAME),
    (
        "extends-merging",
        "services.base.deploy.resources.limits.memory",
        WRITTEN_BACK,
    ),
    (
        "extends-merging",
        "services.base.logging.options.b",
        WRITTEN_BACK,
    ),
    ("extensions", "services.web.build.x-build", YAML_1_1),
    ("*", "x-*", DROPPED),
    ("healthchecks", "services.disabled.healthcheck.*", SAME),
    ("process", "services.empty.healthcheck.*", SAME),
    (
        "labels",
        "services.map.labels.com.example.flag",
        PYTHONS_WORD,
    ),
    ("merge-ipam", "networks.one.ipam.driver", REPLACED),
    ("merge-networks", "networks.one.*", REPLACED),
    ("merge-networks", "networks.one.labels.a", REPLACED),
    ("merge-resources", "volumes.data.*", REPLACED),
    ("merge-resources", "volumes.data.*.*", REPLACED),
    ("merge-lists", "services.web.dns_opt", NOT_APPENDED),
    ("merge-lists", "services.web.group_add", NOT_APPENDED),
    ("merge-mounts", "services.web.configs", BY_TARGET),
    ("merge-mounts", "services.web.secrets[].mode", BY_TARGET),
    ("merge-mounts", "services.web.secrets[].source", BY_TARGET),
    ("processors", "services.web.cpu_rt_*", SAME),
    ("x-roads-of-app", "services.web.x-roads", DROPPED),
    ("x-roads-whole", "services.inherits.x-roads", DROPPED),
    ("x-roads-whole", "services.web.x-roads.scale.min", DROPPED),
];

const UNSET: &str = "an argument that has no value anywhere is not set (specification, `args`)";
const OUTER_FIRST: &str = "in `.env` too the caller's environment comes first, since Compose 2";
const NO_NAME: &str = "COMPOSE_PROJECT_NAME is a variable of every file (specification, `name`)";
const WRITTEN_BACK: &str = "it changes a base by what extends it, which no rule says";
const YAML_1_1: &str = "`yes` is text in YAML 1.2";
const PYTHONS_WORD: &str = "it writes true as Python does";
const DROPPED: &str = "it drops keys of one's own at the top, though others stay";
const SAME: &str = "it writes the same in another way";
const REPLACED: &str = "mappings are merged, here as anywhere (specification, merge)";
const NOT_APPENDED: &str = "lists are appended, these too (specification, merge)";
const BY_TARGET: &str = "what is mounted at one target is one (specification, merge)";

/// A part of what it says of a file that it refuses, and why ours reads it.
const REFUSED: &[(&str, &str)] = &[
    (
        "build path /srv/web",
        "a folder of another machine is no fault of the file",
    ),
    (
        "does not match any of the regexes: '^x-'",
        "a later key of the specification",
    ),
    (
        "Unsupported config option",
        "a later key of the specification",
    ),
    (
        "contains unsupported option",
        "a later key of the specification",
    ),
    (
        "contains an invalid type",
        "a later form: nothing, a mapping, a flag as text",
    ),
    (
        "which is an invalid type",
        "a later form: a mapping, a list, a flag",
    ),
    (
        "Service services has neither",
        "`services: {}` is no service of a form without sections",
    ),
    (
        "expected a single document",
        "several documents are as several files",
    ),
    (
        "a constructor for the tag",
        "`!reset` and `!override` are later",
    ),
    (
        "services with 'depends_on' cannot be extended",
        "they can, since Compose 2",
    ),
    (
        "Invalid interpolation format",
        "`:+`, `+` and defaults within defaults are later",
    ),
    (
        "is not a valid integer",
        "a range to publish on is a later form",
    ),
    (
        "Object of type date",
        "it takes 2024-01-01 for a date, and stumbles over that",
    ),
    (
        "missing 'credential_spec.file'",
        "`credential_spec.config` is later",
    ),
];

/// Lists whose order means nothing; it keeps some of them as sets.
const UNORDERED: &[&str] = &[
    "services.*.device_cgroup_rules",
    "services.*.devices",
    "services.*.links",
    "services.*.ports",
    "services.*.volumes",
];

#[test]
fn every_difference_from_docker_compose_is_explained() {
    if !is_installed() {
        return;
    }
    let cases: Vec<Case> = cases("files").into_iter().chain(cases("specs")).collect();
    let stages: Vec<PathBuf> = cases.iter().map(stage).collect();
    let answers = ask(&cases, &stages);
    let mut report = Report::default();
    for ((case, stage), answer) in cases.iter().zip(&stages).zip(answers) {
        match (answer.get("resolved"), answer.get("refused")) {
            (Some(theirs), _) => report.compare(case, stage, theirs),
            (_, refused) => report.refused(case, refused.unwrap_or(&Value::Null)),
        }
    }
    report.finish();
}

/// Lays a case out on the disk, with the folders that it builds from.
fn stage(case: &Case) -> PathBuf {
    let stage = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("reference")
        .join(&case.name);
    let _ = std::fs::remove_dir_all(&stage);
    let folder = stage.join("app");
    copy(&case.folder, &folder);
    for file in &case.files {
        std::fs::copy(file, folder.join(file.file_name().unwrap())).unwrap();
    }
    let resolved = loaded(case).unwrap().resolved.value();
    let services = resolved["services"].as_object();
    for service in services.into_iter().flat_map(|services| services.values()) {
        if let Some(context) = service["build"]["context"].as_str()
            && let Ok(below) = Path::new(context).strip_prefix("/")
        {
            std::fs::create_dir_all(stage.join(below)).unwrap();
        }
    }
    stage
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// What the other program makes of each.
fn ask(cases: &[Case], stages: &[PathBuf]) -> Vec<Value> {
    let environment: Value = ENVIRONMENT
        .iter()
        .map(|(name, value)| (*name, *value))
        .collect();
    let question = |(case, stage): (&Case, &PathBuf)| {
        let names: Vec<_> = case
            .files
            .iter()
            .map(|file| file.file_name().unwrap())
            .collect();
        let names: Vec<_> = names.iter().map(|name| name.to_string_lossy()).collect();
        json!({ "folder": stage.join("app"), "files": names, "environment": environment })
    };
    let questions: Value = cases.iter().zip(stages).map(question).collect();
    let program = tests().join("corpus/reference.py");
    let answers = python(&[&program.to_string_lossy()], &questions);
    serde_json::from_value(answers).unwrap()
}

/// Whether docker-compose is here, and with it what its Python needs; in CI it must be.
pub(crate) fn is_installed() -> bool {
    let is_installed = Path::new(DOCKER_COMPOSE).exists();
    let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(is_installed || !in_ci, "docker-compose is not installed");
    if !is_installed {
        eprintln!("skipped: docker-compose is not installed");
    }
    is_installed
}

/// What a Python program answers to a question.
pub(crate) fn python(words: &[&str], question: &Value) -> Value {
    let mut child = Command::new(PYTHON)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(question.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{PYTHON} failed");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What is not explained, and which explanations were needed.
#[derive(Default)]
struct Report {
    unexplained: String,
    explained: Vec<usize>,
    refused: Vec<usize>,
}

impl Report {
    fn compare(&mut self, case: &Case, stage: &Path, theirs: &Value) {
        let ours = loaded(case).unwrap().resolved;
        let stage = stage.to_string_lossy();
        let text = normal(theirs.clone()).to_string().replace(&*stage, "");
        let file = Source {
            path: "theirs".into(),
            text,
        };
        let request = Request {
            files: vec![file],
            env_files: Vec::new(),
            environment: Default::default(),
            name: ours.value()["name"].as_str().map(str::to_owned),
            ..case.request()
        };
        let mut found = Vec::new();
        match load(&request, case) {
            Ok(theirs) => {
                differences("", &ours.value(), &theirs.resolved.value(), &mut found);
            }
            Err(diagnostics) => {
                found.push((String::new(), told(case, diagnostics)));
            }
        }
        for (path, what) in found {
            let explains = |row: &&(usize, &(&str, &str, &str))| {
                let (_, (name, pattern, _)) = row;
                ["*", case.name.as_str()].contains(name) && matches(pattern, &path)
            };
            match EXPLAINED.iter().enumerate().find(|row| explains(&row)) {
                Some((row, _)) => self.explained.push(row),
                None => writeln!(self.unexplained, "{}: {path}: {what}", case.name).unwrap(),
            }
        }
    }

    fn refused(&mut self, case: &Case, why: &Value) {
        let why = why.as_str().unwrap_or_default();
        let explains = |(part, _): &(&str, &str)| why.contains(part);
        match REFUSED.iter().position(explains) {
            Some(row) => self.refused.push(row),
            None => writeln!(self.unexplained, "{}: refused: {why}", case.name).unwrap(),
        }
    }

    fn finish(mut self) {
        for (row, explanation) in EXPLAINED.iter().enumerate() {
            if !self.explained.contains(&row) {
                writeln!(self.unexplained, "explains nothing: {explanation:?}").unwrap();
            }
        }
        for (row, explanation) in REFUSED.iter().enumerate() {
            if !self.refused.contains(&row) {
                writeln!(self.unexplained, "explains nothing: {explanation:?}").unwrap();
            }
        }
        assert!(self.unexplained.is_empty(), "\n{}", self.unexplained);
    }
}

fn normal(mut theirs: Value) -> Value {
    let services = theirs["services"].as_object_mut();
    for service in services
        .into_iter()
        .flat_map(|services| services.values_mut())
    {
        for item in service["volumes_from"].as_array_mut().into_iter().flatten() {
            if let Some(name) = item.as_str().and_then(|text| text.strip_prefix("service:")) {
                *item = name.trim_end_matches(":rw").into();
            }
        }
        if let Some(service) = service.as_object_mut() {
            service.retain(|_, value| !value.is_null());
        }
    }
    theirs
}

fn differences(path: &str, ours: &Value, theirs: &Value, found: &mut Vec<(String, String)>) {
    let below = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let further = b.keys().filter(|key| !a.contains_key(*key));
            for key in a.keys().chain(further) {
                let at = |value: &Value| value.get(key).cloned().unwrap_or_default();
                differences(&below(key), &at(ours), &at(theirs), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let sorted = |list: &Vec<Value>| {
                let mut list = list.clone();
                if UNORDERED.iter().any(|pattern| matches(pattern, path)) {
                    list.sort_by_key(Value::to_string);
                }
                list
            };
            for (a, b) in sorted(a).iter().zip(&sorted(b)) {
                differences(&format!("{path}[]"), a, b, found);
            }
        }
        (a, b) if a == b || (says_nothing(a) && says_nothing(b)) => {}
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => {}
        (a, b) => found.push((path.to_owned(), format!("ours {a}, theirs {b}"))),
    }
}

fn says_nothing(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(|fields| fields.is_empty())
}

/// Whether a path is of this pattern, in which `*` is the rest of one name.
fn matches(pattern: &str, path: &str) -> bool {
    let one = |(wanted, name): (&str, &str)| match wanted.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => wanted == name,
    };
    let parts = (pattern.split('.'), path.split('.'));
    parts.0.clone().count() == parts.1.clone().count() && parts.0.zip(parts.1).all(one)
}
