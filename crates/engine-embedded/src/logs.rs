//! Reading what the keeper has written: the lines of several instances merged by their time, and
//! then, if wished, what is added.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use logfile::{ROTATED_MAX, parse_time, rotated};
use model::{AppName, InstanceId, ServiceName, Timestamp};
use ports::{EngineError, LogFollow, LogLine, LogSource, LogStream, LogWish, Pending};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

/// How many lines are read ahead.
const BATCH: usize = 256;

/// The lines that a wish asks for.
pub(crate) struct LogReader {
    /// Away while it is being read on a thread that may block.
    merge: Option<Merge>,
    ready: VecDeque<LogLine>,
    changes: Option<AsyncFd<OwnedFd>>,
}

impl LogReader {
    pub(crate) async fn open(directory: PathBuf, wish: LogWish) -> Result<Self, EngineError> {
        let changes = match wish.follow {
            LogFollow::Stop => None,
            // Before the first look, so that nothing falls between.
            LogFollow::Follow => Some(watch(&directory)?),
        };
        let merge = blocking(move || Merge::open(directory, wish)).await?;
        Ok(Self {
            merge: Some(merge),
            ready: VecDeque::new(),
            changes,
        })
    }

    async fn read(&mut self) -> Result<Option<LogLine>, EngineError> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(Some(line));
            }
            let Some(mut merge) = self.merge.take() else {
                return Ok(None);
            };
            let (merge, lines) = blocking(move || {
                let lines = merge.take(BATCH);
                Ok((merge, lines))
            })
            .await?;
            self.merge = Some(merge);
            self.ready.extend(lines);
            if !self.ready.is_empty() {
                continue;
            }
            let Some(changes) = &self.changes else {
                return Ok(None);
            };
            wait_for_change(changes)
                .await
                .map_err(|error| failed(&error))?;
        }
    }
}

impl LogStream for LogReader {
    fn next(&mut self) -> Pending<'_, Result<Option<LogLine>, EngineError>> {
        Box::pin(self.read())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| failed(&error))?
}

fn failed(error: &dyn std::fmt::Display) -> EngineError {
    EngineError::Failed {
        what: "cannot read the logs".to_owned(),
        why: error.to_string(),
    }
}

fn watch(directory: &Path) -> Result<AsyncFd<OwnedFd>, EngineError> {
    let open = || -> std::io::Result<AsyncFd<OwnedFd>> {
        crate::home::make_private(directory)?;
        let descriptor = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let changes = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        inotify::add_watch(&descriptor, directory, changes)?;
        // SAFETY: it owns the descriptor, which nobody else closes while it lives.
        Ok(unsafe { AsyncFd::register(descriptor) }?)
    };
    open().map_err(|error| failed(&error))
}

/// Waits until something was written, and takes all that is said about it.
async fn wait_for_change(changes: &AsyncFd<OwnedFd>) -> std::io::Result<()> {
    let mut guard = changes.readable().await?;
    let mut buffer = [0; 4096];
    while rustix::io::read(guard.get_inner(), &mut buffer).is_ok_and(|length| length > 0) {}
    guard.clear_ready();
    Ok(())
}

/// The files of all instances that are wished for.
struct Merge {
    directory: PathBuf,
    wish: LogWish,
    files: BTreeMap<InstanceId, Instance>,
}

impl Merge {
    fn open(directory: PathBuf, wish: LogWish) -> Result<Self, EngineError> {
        let mut merge = Self {
            directory,
            wish,
            files: BTreeMap::new(),
        };
        merge.find();
        if let Some(tail) = merge.wish.tail {
            for instance in merge.files.values_mut() {
                instance.skip_to_tail(tail);
            }
        }
        Ok(merge)
    }

    /// Adds the instances that are new.
    fn find(&mut self) {
        for entry in fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name();
            let Some(id) = name.to_str().and_then(|n| parse_name(&self.wish.app, n)) else {
                continue;
            };
            let is_wished =
                self.wish.services.is_empty() || self.wish.services.contains(&id.service);
            if is_wished && !self.files.contains_key(&id) {
                let instance = Instance::new(id.clone(), entry.path());
                self.files.insert(id, instance);
            }
        }
    }

    /// The next lines, oldest first.
    fn take(&mut self, count_max: usize) -> Vec<LogLine> {
        self.find();
        let since = self.wish.since;
        let mut lines = Vec::new();
        while lines.len() < count_max {
            let mut oldest: Option<(Timestamp, &mut Instance)> = None;
            for instance in self.files.values_mut() {
                let Some(at) = instance.peek(since) else {
                    continue;
                };
                if oldest.as_ref().is_none_or(|(other, _)| at < *other) {
                    oldest = Some((at, instance));
                }
            }
            match oldest.and_then(|(_, instance)| instance.ready.pop_front()) {
                Some(line) => lines.push(line),
                None => break,
            }
        }
        lines
    }
}

/// `SERVICE.NUMBER.log`; files put aside are found by their instance's.
fn parse_name(app: &AppName, name: &str) -> Option<InstanceId> {
    let (service, number) = name.strip_suffix(".log")?.rsplit_once('.')?;
    Some(InstanceId {
        app: app.clone(),
        service: ServiceName::new(service).ok()?,
        number: number.parse().ok()?,
    })
}

/// The files of one instance, and how far they were read.
struct Instance {
    id: InstanceId,
    path: PathBuf,
    current: Option<(u64, BufReader<File>)>,
    /// Whether nothing is added to the current file any more.
    is_put_aside: bool,
    /// What is read of a line whose end is not yet written.
    rest: Vec<u8>,
    /// The parts of a long line so far.
    parts: BTreeMap<bool, String>,
    ready: VecDeque<LogLine>,
}

impl Instance {
    fn new(id: InstanceId, path: PathBuf) -> Self {
        Self {
            id,
            path,
            current: None,
            is_put_aside: false,
            rest: Vec::new(),
            parts: BTreeMap::new(),
            ready: VecDeque::new(),
        }
    }

    /// Leaves only the last lines of what there is.
    fn skip_to_tail(&mut self, count: usize) {
        let mut last = VecDeque::new();
        while let Some(line) = self.read_line() {
            last.push_back(line);
            if last.len() > count {
                last.pop_front();
            }
        }
        self.ready = last;
    }

    /// When the next line was written, reading it if need be.
    fn peek(&mut self, since: Option<Timestamp>) -> Option<Timestamp> {
        loop {
            if self.ready.is_empty() {
                let line = self.read_line()?;
                self.ready.push_back(line);
            }
            let at = self.ready.front()?.at;
            if since.is_none_or(|since| at >= since) {
                return Some(at);
            }
            self.ready.pop_front();
        }
    }

    /// The next whole line; `None` when there is none yet.
    fn read_line(&mut self) -> Option<LogLine> {
        loop {
            if self.current.is_none() && !self.advance() {
                return None;
            }
            let (_, reader) = self.current.as_mut()?;
            let length = reader.read_until(b'\n', &mut self.rest).unwrap_or(0);
            if length == 0 {
                if !self.go_on() {
                    return None;
                }
                continue;
            }
            if !self.rest.ends_with(b"\n") {
                continue;
            }
            let text = std::mem::take(&mut self.rest);
            if let Some(line) = self.parse(&text) {
                return Some(line);
            }
        }
    }

    /// At the end of a file: whether there may be more, in it or after it.
    fn go_on(&mut self) -> bool {
        if self.is_put_aside {
            // It was read to its end since.
            return self.advance();
        }
        let newest = fs::metadata(&self.path).map(|found| found.ino()).ok();
        let current = self.current.as_ref().map(|(number, _)| *number);
        self.is_put_aside = newest.is_some() && newest != current;
        self.is_put_aside
    }

    /// Opens the file after the current one, oldest first. Whether there was one.
    fn advance(&mut self) -> bool {
        let aside = (1..=ROTATED_MAX)
            .rev()
            .map(|number| rotated(&self.path, number));
        let chain: Vec<(u64, File)> = aside
            .chain([self.path.clone()])
            .filter_map(|path| {
                let file = File::open(path).ok()?;
                let number = file.metadata().ok()?.ino();
                Some((number, file))
            })
            .collect();
        let current = self.current.as_ref().map(|(number, _)| *number);
        let position = chain
            .iter()
            .position(|(number, _)| Some(*number) == current);
        let next = position.map_or(0, |position| position + 1);
        match chain.into_iter().nth(next) {
            Some((number, file)) => {
                self.current = Some((number, BufReader::new(file)));
                self.rest.clear();
                self.is_put_aside = false;
                true
            }
            None => false,
        }
    }

    /// A line of the file; `None` for a part of a line that goes on, and for what is no line.
    fn parse(&mut self, line: &[u8]) -> Option<LogLine> {
        let line = String::from_utf8_lossy(line.strip_suffix(b"\n")?).into_owned();
        let mut words = line.splitn(4, ' ');
        let (at, stream) = (parse_time(words.next()?)?, words.next()?);
        let (tag, text) = (words.next()?, words.next()?);
        let is_output = stream == "stdout";
        let parts = self.parts.entry(is_output).or_default();
        parts.push_str(text);
        if tag == "P" {
            return None;
        }
        Some(LogLine {
            instance: self.id.clone(),
            at,
            source: if is_output {
                LogSource::Output
            } else {
                LogSource::Error
            },
            text: std::mem::take(parts),
        })
    }
}
