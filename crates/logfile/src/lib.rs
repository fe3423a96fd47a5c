//! Writing what instances write: one file an instance, a line each, in the log format of the
//! Kubernetes container runtime interface (`TIME stdout|stderr F|P TEXT`; P is a part of a line
//! that goes on). Rotated by size, kept after the instance is gone. It knows no instances and no
//! readers; who reads finds the files by [`rotated`] and their times by [`parse_time`].

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

mod time;

pub use time::parse_time;

/// A file longer than this is put aside.
const FILE_BYTES_MAX: u64 = 10 << 20;
/// How many files put aside are kept.
pub const ROTATED_MAX: u32 = 3;
/// A line longer than this is written in parts.
const PART_BYTES_MAX: usize = 16 << 10;
/// How much is read at once, so that one instance cannot hold up the others.
const READ_BYTES_MAX: usize = 64 << 10;

/// The log of one instance.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    bytes: u64,
}

/// One of the two streams of an instance, and what it has of a line.
#[derive(Debug)]
pub struct Stream {
    /// The reading end.
    pub pipe: OwnedFd,
    name: &'static str,
    pending: Vec<u8>,
}

/// Whether a stream goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// There may be more at once.
    More,
    /// Nothing for now.
    Dry,
    /// Nobody can write to it any more.
    Ended,
}

impl Log {
    /// Opens the file to append to, and makes the directories above it, for its user alone.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
        }
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path, file, bytes })
    }

    /// Writes whole lines. What cannot be written is lost: the instance must not wait for a disk
    /// that is full.
    fn append(&mut self, lines: &[u8]) {
        if self.bytes + lines.len() as u64 > FILE_BYTES_MAX && self.bytes > 0 {
            // When the old file cannot be put aside, it grows.
            let _ = self.rotate();
        }
        match self.file.write_all(lines) {
            Ok(()) => self.bytes += lines.len() as u64,
            Err(error) => eprintln!("cannot write {}: {error}", self.path.display()),
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..ROTATED_MAX).rev() {
            let _ = fs::rename(rotated(&self.path, number), rotated(&self.path, number + 1));
        }
        fs::rename(&self.path, rotated(&self.path, 1))?;
        *self = Self::open(self.path.clone())?;
        Ok(())
    }
}

/// The name of a file put aside; 1 is the newest.
#[must_use]
pub fn rotated(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

impl Stream {
    /// The reading end of a pipe that does not block; `name` is written with each line.
    #[must_use]
    pub fn new(pipe: OwnedFd, name: &'static str) -> Self {
        Self {
            pipe,
            name,
            pending: Vec::new(),
        }
    }

    /// Reads once and writes the lines that are complete.
    pub fn pass(&mut self, log: &mut Log) -> Flow {
        let mut buffer = vec![0; READ_BYTES_MAX];
        let length = match rustix::io::read(&self.pipe, &mut buffer) {
            Ok(0) => {
                self.finish(log);
                return Flow::Ended;
            }
            Ok(length) => length,
            Err(Errno::AGAIN | Errno::INTR) => return Flow::Dry,
            Err(_) => return Flow::Ended,
        };
        let lines = self.take(&buffer[..length]);
        if !lines.is_empty() {
            log.append(&lines);
        }
        Flow::More
    }

    /// Writes what there is of a last line.
    pub fn finish(&mut self, log: &mut Log) {
        if !self.pending.is_empty() {
            let mut line = Vec::new();
            let pending = std::mem::take(&mut self.pending);
            self.write_line(&mut line, &pending);
            log.append(&line);
        }
    }

    /// Adds bytes; the complete lines, as they are to be written.
    fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut lines = Vec::with_capacity(bytes.len() * 2);
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(end) if self.pending.is_empty() => self.write_line(&mut lines, end),
                Some(end) => {
                    let mut line = std::mem::take(&mut self.pending);
                    line.extend_from_slice(end);
                    self.write_line(&mut lines, &line);
                }
                None => self.pending.extend_from_slice(piece),
            }
        }
        while self.pending.len() > PART_BYTES_MAX {
            let rest = self.pending.split_off(PART_BYTES_MAX);
            let part = std::mem::replace(&mut self.pending, rest);
            self.write_part(&mut lines, 'P', &part);
        }
        lines
    }

    fn write_line(&self, out: &mut Vec<u8>, mut line: &[u8]) {
        while line.len() > PART_BYTES_MAX {
            let (part, rest) = line.split_at(PART_BYTES_MAX);
            self.write_part(out, 'P', part);
            line = rest;
        }
        self.write_part(out, 'F', line);
    }

    fn write_part(&self, out: &mut Vec<u8>, tag: char, text: &[u8]) {
        let head = format!("{} {} {tag} ", time::now(), self.name);
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(text);
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[u8]) -> Vec<(String, usize)> {
        let text = String::from_utf8(lines.to_vec()).unwrap();
        let part = |line: &str| {
            let (head, text) = line.split_at("2026-11-24T03:34:39.123456789Z stdout F ".len());
            (head[31..].trim().to_owned(), text.len())
        };
        text.lines().map(part).collect()
    }

    #[test]
    fn lines_are_whole_whatever_the_reads_and_long_ones_come_in_parts() {
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let mut stream = Stream::new(reader, "stdout");
        let full = |count| ("stdout F".to_owned(), count);
        assert_eq!(texts(&stream.take(b"ab\ncd")), [full(2)]);
        assert_eq!(texts(&stream.take(b"ef\n\n")), [full(4), full(0)]);
        let long = [vec![b'x'; PART_BYTES_MAX + 10], b"\n".to_vec()].concat();
        let part = ("stdout P".to_owned(), PART_BYTES_MAX);
        assert_eq!(texts(&stream.take(&long)), [part.clone(), full(10)]);
        assert_eq!(texts(&stream.take(&long[..long.len() - 1])), [part]);
        assert_eq!(texts(&stream.take(b"\n")), [full(10)]);
    }
}
