//! Becoming a program: streams, user, rights, then execve. Used for an instance's program and for
//! commands that are run beside it.

use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Resource, Signal};
use rustix::thread::{Gid, Uid};

use super::ids::Identity;
use super::root::EXECUTABLES;
use super::tree::last_errno;
use super::{Setting, capabilities, seccomp};
use crate::failure::{Attempt, Failure};
use crate::keeper::protocol::Program;

/// Where programs are looked for when the environment does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the program's standard streams are.
#[derive(Debug)]
pub(crate) enum Streams {
    Files {
        input: OwnedFd,
        output: OwnedFd,
        error: OwnedFd,
    },
    /// All three, and its controlling terminal.
    Terminal(OwnedFd),
}

/// Everything that a process needs to become a program.
#[derive(Debug)]
pub(crate) struct Becoming<'a> {
    pub(crate) program: &'a Program,
    pub(crate) identity: &'a Identity,
    pub(crate) hostname: &'a str,
    pub(crate) setting: Setting<'a>,
    pub(crate) streams: Streams,
}

/// Why a process did not become a program, as shells tell it apart.
#[derive(Debug)]
pub(crate) enum Unexecuted {
    /// It did not get as far as looking for it.
    Unprepared(Failure),
    /// There is no such program.
    Missing(Failure),
    /// There is, and it cannot be executed.
    Forbidden(Failure),
}

impl Becoming<'_> {
    /// Becomes the program; returns only when that failed.
    pub(crate) fn execute(&self) -> Unexecuted {
        match self.prepare() {
            Ok((environment, path)) => self.run(&environment, &path),
            Err(failure) => Unexecuted::Unprepared(failure),
        }
    }

    /// Everything up to the execve; the environment, and the PATH in it.
    fn prepare(&self) -> Result<(Vec<CString>, String), Failure> {
        rustix::process::setsid().attempt(|| "cannot begin a session")?;
        self.connect_streams()
            .attempt(|| "cannot connect the standard streams")?;
        reset_signals();
        rustix::process::umask(Mode::from_raw_mode(0o022));
        rustix::process::setrlimit(Resource::Nofile, self.setting.descriptors)
            .attempt(|| "cannot set the limit of open files")?;
        let directory = self
            .program
            .working_dir
            .as_deref()
            .unwrap_or(Path::new("/"));
        std::fs::create_dir_all(directory)
            .attempt(|| format!("cannot make working directory {}", directory.display()))?;
        self.take_identity()?;
        rustix::process::chdir(directory)
            .attempt(|| format!("cannot enter working directory {}", directory.display()))?;
        // Cleared by a change of user, so here.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .attempt(|| "cannot tie the program to its keeper")?;
        let environment = self.environment();
        let path = environment
            .iter()
            .find_map(|(key, value)| (key == "PATH").then_some(value));
        let path = path.cloned().unwrap_or_default();
        let text = |(key, value): &(String, String)| CString::new(format!("{key}={value}"));
        let environment = environment
            .iter()
            .map(text)
            .collect::<Result<_, _>>()
            .attempt(|| "cannot set the environment")?;
        seccomp::install(self.setting.filter)?;
        Ok((environment, path))
    }

    fn connect_streams(&self) -> Result<(), Errno> {
        let (input, output, error) = match &self.streams {
            Streams::Files {
                input,
                output,
                error,
            } => (input, output, error),
            Streams::Terminal(terminal) => {
                rustix::process::ioctl_tiocsctty(terminal)?;
                (terminal, terminal, terminal)
            }
        };
        rustix::stdio::dup2_stdin(input)?;
        rustix::stdio::dup2_stdout(output)?;
        rustix::stdio::dup2_stderr(error)
    }

    fn take_identity(&self) -> Result<(), Failure> {
        let what = || format!("cannot become user {}", self.identity.user);
        let (user, group) = (self.identity.user, self.identity.group);
        capabilities::bound().attempt(|| "cannot bound the capabilities")?;
        if self.setting.ids.is_single() {
            // There is one user and one group, and they are the wished ones already.
        } else {
            let groups: Vec<Gid> = self
                .identity
                .groups
                .iter()
                .map(|&g| Gid::from_raw(g))
                .collect();
            let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
            rustix::thread::set_thread_groups(&groups).attempt(what)?;
            rustix::thread::set_thread_res_gid(group, group, group).attempt(what)?;
            rustix::thread::set_thread_res_uid(user, user, user).attempt(what)?;
        }
        let dropped = if user == 0 {
            capabilities::keep_for_root()
        } else {
            capabilities::drop_all()
        };
        dropped.attempt(|| "cannot drop the capabilities")?;
        rustix::thread::set_no_new_privs(true).attempt(|| "cannot forbid new privileges")
    }

    /// The service's variables over the usual ones. Our executables come last in the PATH.
    fn environment(&self) -> Vec<(String, String)> {
        let own = &self.program.environment;
        let given = |name: &str| {
            own.iter()
                .find(|(key, _)| key == name)
                .map(|(_, v)| v.as_str())
        };
        let path = format!("{}:{EXECUTABLES}", given("PATH").unwrap_or(PATH));
        let home = self.identity.home.display().to_string();
        let usual = [
            ("HOME", home.as_str()),
            ("HOSTNAME", self.hostname),
            ("TERM", "xterm"),
        ];
        let usual = usual.iter().filter(|(name, _)| match *name {
            "TERM" => matches!(self.streams, Streams::Terminal(_)) && given("TERM").is_none(),
            name => given(name).is_none(),
        });
        let mut all = vec![("PATH".to_owned(), path)];
        all.extend(usual.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        all.extend(own.iter().filter(|(key, _)| key != "PATH").cloned());
        all
    }

    fn run(&self, environment: &[CString], path: &str) -> Unexecuted {
        let name = &self.program.argv[0];
        let what = || format!("cannot run {name}");
        let arguments = self.program.argv.iter().map(|a| CString::new(a.as_str()));
        let arguments: Vec<CString> = match arguments.collect::<Result<_, _>>().attempt(what) {
            Ok(arguments) => arguments,
            Err(failure) => return Unexecuted::Unprepared(failure),
        };
        let mut denied = None;
        for candidate in candidates(name, path) {
            match execute(&candidate, &arguments, environment) {
                Errno::NOENT | Errno::NOTDIR => {}
                Errno::ACCESS => denied = Some(candidate),
                Errno::NOEXEC => {
                    let why = "it is neither a program of this machine nor a script with #!";
                    let hint = "begin the script with #!/bin/sh";
                    return Unexecuted::Forbidden(Failure::forbidden(what(), why, hint));
                }
                errno => return Unexecuted::Forbidden(Failure::failed(what(), errno)),
            }
        }
        if let Some(denied) = denied {
            return Unexecuted::Forbidden(Failure::forbidden(
                what(),
                format!("{} may not be executed", denied.display()),
                format!("run: chmod +x {}", denied.display()),
            ));
        }
        let place = if name.contains('/') {
            "there is no such file in the instance, or its interpreter is missing".to_owned()
        } else {
            format!("command not found in PATH={path}")
        };
        let hint = "check `command` and `entrypoint`";
        Unexecuted::Missing(Failure::forbidden(what(), place, hint))
    }
}

impl Unexecuted {
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Self::Unprepared(failure) | Self::Missing(failure) | Self::Forbidden(failure) => {
                failure
            }
        }
    }
}

/// Writes a failure where the keeper reads it.
pub(crate) fn report(failure: &Failure, status: impl AsFd) {
    if let Ok(text) = serde_json::to_vec(failure)
        && let Ok(status) = status.as_fd().try_clone_to_owned()
    {
        // When nobody reads, nobody wants to know.
        let _ = std::fs::File::from(status).write_all(&text);
    }
}

/// Where a command may be, as execvp(3) has it.
fn candidates(name: &str, path: &str) -> Vec<PathBuf> {
    if name.contains('/') {
        return vec![name.into()];
    }
    path.split(':')
        .map(|directory| Path::new(directory).join(name))
        .collect()
}

fn execute(path: &Path, arguments: &[CString], environment: &[CString]) -> Errno {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
        return Errno::INVAL;
    };
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts
            .iter()
            .map(|text| text.as_ptr())
            .chain([std::ptr::null()])
            .collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: the path and both lists are C strings that live through the call, and each list ends
    // with a null pointer.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    last_errno()
}

/// Every signal is as a program expects it: not blocked, and at its default.
fn reset_signals() {
    for number in 1..=64 {
        // SAFETY: default handlers run none of our code; numbers that may not be set are refused.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    // SAFETY: the set lives through both calls, and an empty one is what the first makes of it.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}
