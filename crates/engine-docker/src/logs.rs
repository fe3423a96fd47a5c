//! The output of instances: Docker's logs of those that have a container, and files of ours with
//! what those wrote whose container is gone.
//!
//! What was written is merged by time. Then, if wished, each container's log is followed, as are
//! those of containers that start later.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::LogsOptions;
use futures_util::stream::{self, SelectAll, Stream, StreamExt};
use model::{AppName, InstanceId, ServiceName, Timestamp};
use ports::{EngineError, LogFollow, LogLine, LogSource, LogStream, LogWish, Pending};
use tokio::sync::watch;

use crate::engine::Shared;
use crate::{clock, observe};

/// How many lines of a removed instance are kept.
const KEPT_LINES_MAX: usize = 10_000;

type Lines = Pin<Box<dyn Stream<Item = Result<LogLine, Error>> + Send>>;
type Live = Pin<Box<dyn Stream<Item = Heard> + Send>>;

/// What is heard of a container that is followed.
enum Heard {
    Line(LogLine),
    /// It ended, or its log did.
    End(InstanceId),
}

/// Saves what a container wrote, before it is removed.
pub(crate) async fn keep(
    docker: &Docker,
    container: &str,
    folder: &Path,
    id: &InstanceId,
) -> Result<(), EngineError> {
    let options = LogsOptions {
        tail: KEPT_LINES_MAX.to_string(),
        ..whole()
    };
    let mut lines = container_lines(docker, container, id, None, options);
    let mut text = String::new();
    while let Some(line) = lines.next().await {
        let Ok(line) = line else {
            // A log that Docker cannot read (another driver) is not ours to keep.
            break;
        };
        let source = match line.source {
            LogSource::Output => "stdout",
            LogSource::Error => "stderr",
        };
        text.push_str(&format!("{} {source} {}\n", line.at.0, line.text));
    }
    if text.is_empty() {
        return Ok(());
    }
    let write = || {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let path = folder.join(format!("{}.{}.log", id.service, id.number));
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())
    };
    write().map_err(|error| failed(&error))
}

/// The lines that a wish asks for.
pub(crate) async fn open(
    shared: Arc<Shared>,
    wish: LogWish,
) -> Result<Box<dyn LogStream>, EngineError> {
    let docker = shared.link.docker().await?;
    // Before the first look, so that nothing falls between.
    let starts = shared.starts();
    let opened = clock_now();
    let mut history = Merge::default();
    for (id, path) in kept_files(&shared.home.logs(&wish.app), &wish)? {
        let lines = kept_lines(&id, &path, wish.tail, wish.since).map_err(|e| failed(&e))?;
        history.add(Box::pin(stream::iter(lines.into_iter().map(Ok))));
    }
    let mut heard = BTreeMap::new();
    for (id, container) in containers(&shared, &docker, &wish).await? {
        let options = LogsOptions {
            tail: wish
                .tail
                .map_or("all".to_owned(), |count| count.to_string()),
            since: wish.since.map_or(0, seconds),
            ..whole()
        };
        history.add(container_lines(&docker, &container, &id, None, options));
        heard.insert(id, opened);
    }
    Ok(Box::new(LogReader {
        shared,
        wish,
        history: Some(history),
        heard,
        followed: BTreeSet::new(),
        live: SelectAll::new(),
        starts,
    }))
}

/// Reads history first, then what is added.
struct LogReader {
    shared: Arc<Shared>,
    wish: LogWish,
    history: Option<Merge>,
    /// When the last line of each instance was written.
    heard: BTreeMap<InstanceId, Timestamp>,
    followed: BTreeSet<InstanceId>,
    live: SelectAll<Live>,
    starts: watch::Receiver<u64>,
}

impl LogStream for LogReader {
    fn next(&mut self) -> Pending<'_, Result<Option<LogLine>, EngineError>> {
        Box::pin(self.read())
    }
}

impl LogReader {
    async fn read(&mut self) -> Result<Option<LogLine>, EngineError> {
        while let Some(history) = &mut self.history {
            match history.next().await {
                Some(line) if self.wish.since.is_none_or(|since| line.at >= since) => {
                    self.heard.insert(line.instance.clone(), line.at);
                    return Ok(Some(line));
                }
                Some(_older) => {}
                None => {
                    self.history = None;
                    self.follow().await?;
                }
            }
        }
        if self.wish.follow == LogFollow::Stop {
            return Ok(None);
        }
        loop {
            tokio::select! {
                Some(heard) = self.live.next() => match heard {
                    Heard::Line(line) => {
                        let last = self.heard.get(&line.instance);
                        if last.is_none_or(|last| line.at > *last) {
                            self.heard.insert(line.instance.clone(), line.at);
                            return Ok(Some(line));
                        }
                    }
                    Heard::End(id) => {
                        self.followed.remove(&id);
                        self.follow().await?;
                    }
                },
                started = self.starts.changed() => match started {
                    Ok(()) => self.follow().await?,
                    Err(_) => return Ok(None),
                },
            }
        }
    }

    /// Follows the containers that run and are not followed yet.
    async fn follow(&mut self) -> Result<(), EngineError> {
        if self.wish.follow == LogFollow::Stop {
            return Ok(());
        }
        let docker = match self.shared.link.docker().await {
            Ok(docker) => docker,
            // Docker is away; it is looked for again when its events are.
            Err(_) => return Ok(()),
        };
        let running = self.shared.running(&self.wish.app);
        for (id, container) in running {
            if !wants(&self.wish, &id.service) || !self.followed.insert(id.clone()) {
                continue;
            }
            let options = LogsOptions {
                follow: true,
                since: self.heard.get(&id).copied().map_or(0, seconds),
                ..whole()
            };
            let after = self.heard.get(&id).copied();
            let lines = container_lines(&docker, &container, &id, after, options);
            let lines = lines.filter_map(|line| std::future::ready(line.ok().map(Heard::Line)));
            let end = stream::once(std::future::ready(Heard::End(id)));
            self.live.push(Box::pin(lines.chain(end)));
        }
        Ok(())
    }
}

/// Several sources of lines, each in the order of time.
#[derive(Default)]
struct Merge {
    sources: Vec<(Option<LogLine>, Lines)>,
}

impl Merge {
    fn add(&mut self, lines: Lines) {
        self.sources.push((None, lines));
    }

    /// The oldest line of all. A source that fails has ended.
    async fn next(&mut self) -> Option<LogLine> {
        for (head, lines) in &mut self.sources {
            if head.is_none() {
                *head = lines.next().await.and_then(Result::ok);
            }
        }
        self.sources.retain(|(head, _)| head.is_some());
        let time = |(head, _): &&mut (Option<LogLine>, Lines)| head.as_ref().map(|line| line.at);
        let oldest = self.sources.iter_mut().min_by_key(time)?;
        oldest.0.take()
    }
}

/// The instances of an app that have a container, and are wished for.
async fn containers(
    shared: &Shared,
    docker: &Docker,
    wish: &LogWish,
) -> Result<Vec<(InstanceId, String)>, EngineError> {
    let seen = observe::all(docker, &shared.home.label()).await?;
    let ours = seen
        .into_iter()
        .map(|seen| (seen.identity.id, seen.container));
    let wanted = ours.filter(|(id, _)| id.app == wish.app && wants(wish, &id.service));
    Ok(wanted.collect())
}

fn wants(wish: &LogWish, service: &ServiceName) -> bool {
    wish.services.is_empty() || wish.services.contains(service)
}

fn whole() -> LogsOptions {
    LogsOptions {
        stdout: true,
        stderr: true,
        timestamps: true,
        ..LogsOptions::default()
    }
}

/// The lines that have begun, of standard output and of standard error, and when they went on.
type Parts = BTreeMap<bool, (Timestamp, String)>;

/// What Docker tells of a container's log, line by line. A long line comes in parts; what has no
/// line feed at the end is a line, too. Pieces until `after` are known.
fn container_lines(
    docker: &Docker,
    container: &str,
    id: &InstanceId,
    after: Option<Timestamp>,
    options: LogsOptions,
) -> Lines {
    let docker = docker.clone();
    let (container, id) = (container.to_owned(), id.clone());
    let pieces = docker.logs(&container, Some(options)).map(Some);
    let pieces = pieces.chain(stream::once(std::future::ready(None)));
    let lines = pieces.scan(Parts::new(), move |parts, piece| {
        let lines: Vec<_> = match piece {
            Some(Ok(piece)) => parse(parts, &id, after, &piece)
                .map(Ok)
                .into_iter()
                .collect(),
            Some(Err(error)) => vec![Err(error)],
            None => rest(parts, &id).map(Ok).collect(),
        };
        std::future::ready(Some(stream::iter(lines)))
    });
    Box::pin(lines.flatten())
}

/// What has begun and does not go on.
fn rest(parts: &mut Parts, id: &InstanceId) -> impl Iterator<Item = LogLine> {
    let line = |(is_error, (at, text))| LogLine {
        instance: id.clone(),
        at,
        source: if is_error {
            LogSource::Error
        } else {
            LogSource::Output
        },
        text,
    };
    std::mem::take(parts).into_iter().map(line)
}

/// A line, when this piece ends one: `TIME TEXT`, with a line feed unless the line goes on.
fn parse(
    parts: &mut Parts,
    id: &InstanceId,
    after: Option<Timestamp>,
    piece: &LogOutput,
) -> Option<LogLine> {
    let source = match piece {
        LogOutput::StdErr { .. } => LogSource::Error,
        LogOutput::StdOut { .. } | LogOutput::StdIn { .. } | LogOutput::Console { .. } => {
            LogSource::Output
        }
    };
    let text = String::from_utf8_lossy(piece.as_ref());
    let (time, text) = text.split_once(' ')?;
    let at = clock::parse_timestamp(time)?;
    if after.is_some_and(|after| at <= after) {
        return None;
    }
    let is_error = source == LogSource::Error;
    let (_, mut whole) = parts.remove(&is_error).unwrap_or_default();
    let Some(end) = text.strip_suffix('\n') else {
        whole.push_str(text);
        parts.insert(is_error, (at, whole));
        return None;
    };
    whole.push_str(end.strip_suffix('\r').unwrap_or(end));
    Some(LogLine {
        instance: id.clone(),
        at,
        source,
        text: whole,
    })
}

/// The files of removed instances that are wished for.
fn kept_files(folder: &Path, wish: &LogWish) -> Result<Vec<(InstanceId, PathBuf)>, EngineError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(&error)),
    };
    let entry = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        let id = parse_name(&wish.app, entry.file_name().to_str()?)?;
        wants(wish, &id.service).then(|| (id, entry.path()))
    };
    Ok(entries.filter_map(entry).collect())
}

/// `SERVICE.NUMBER.log`
fn parse_name(app: &AppName, name: &str) -> Option<InstanceId> {
    let (service, number) = name.strip_suffix(".log")?.rsplit_once('.')?;
    Some(InstanceId {
        app: app.clone(),
        service: ServiceName::new(service).ok()?,
        number: number.parse().ok()?,
    })
}

/// The lines of a file that [`keep`] wrote.
fn kept_lines(
    id: &InstanceId,
    path: &Path,
    tail: Option<usize>,
    since: Option<Timestamp>,
) -> io::Result<VecDeque<LogLine>> {
    let mut lines = VecDeque::new();
    for line in BufReader::new(fs::File::open(path)?).lines() {
        let line = line?;
        let mut words = line.splitn(3, ' ');
        let (Some(at), Some(source), Some(text)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let Ok(at) = at.parse().map(Timestamp) else {
            continue;
        };
        if since.is_some_and(|since| at < since) {
            continue;
        }
        if tail.is_some_and(|tail| lines.len() >= tail) {
            lines.pop_front();
        }
        let source = match source {
            "stderr" => LogSource::Error,
            _ => LogSource::Output,
        };
        lines.push_back(LogLine {
            instance: id.clone(),
            at,
            source,
            text: text.to_owned(),
        });
    }
    if tail == Some(0) {
        lines.clear();
    }
    Ok(lines)
}

/// Docker's `since` counts whole seconds.
fn seconds(at: Timestamp) -> i32 {
    i32::try_from(at.0 / 1_000_000).unwrap_or(i32::MAX)
}

fn clock_now() -> Timestamp {
    Timestamp(u64::try_from(clock::now().as_micros()).unwrap_or(u64::MAX))
}

fn failed(error: &io::Error) -> EngineError {
    EngineError::Failed {
        what: "cannot read or keep the logs".to_owned(),
        why: error.to_string(),
    }
}
