//! A Docker Engine of the tests' own, in a network namespace of its own.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

/// What keeps a Docker Engine: it does what it reads, line by line, and ends everything when its
/// input ends, which is when the tests' process does.
const KEEPER: &str = r#"
ip link set lo up
begin() {
    dockerd --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" \
        -H "unix://$1/docker.sock" $2 >>"$1/log" 2>&1 &
    pid=$!
}
cat >"$1/registry.yml" <<END
version: 0.1
storage: {filesystem: {rootdirectory: $1/registry}}
http: {addr: 127.0.0.1:5000}
auth: {htpasswd: {realm: tests, path: $1/htpasswd}}
END
# me:secret, in bcrypt
echo 'me:$2y$05$rhu9TmwCjZ1E//agmA2XcujFqRV/SJ.cSydgCRaV4Y2MiDqPc/HIO' >"$1/htpasswd"
docker-registry serve "$1/registry.yml" >>"$1/registry.log" 2>&1 &
registry=$!
begin "$1" "$2"
while read -r line; do
    case $line in
        # Its containerd dies with it, and where nobody reaps that it still seems to run.
        kill) kill -9 $pid; wait $pid; rm -f "$1/pid" "$1/exec/containerd/containerd.pid" ;;
        end) kill $pid; wait $pid ;;
        begin) begin "$1" "$2" ;;
    esac
done
docker -H "unix://$1/docker.sock" ps -aq | xargs -r docker -H "unix://$1/docker.sock" rm -fv
kill $pid $registry
wait $pid
# With live-restore it leaves its own mount, for the next one.
umount -R -l "$1/data" 2>/dev/null
rm -rf "$1"
"#;

/// The image that the tests use: busybox, and nothing else.
pub(crate) const IMAGE: &str = "box";
/// How long a Docker Engine may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The one that tests share; `None` where there cannot be one.
static SHARED: LazyLock<Option<Dockerd>> = LazyLock::new(|| Dockerd::start(""));

/// A Docker Engine that runs.
#[derive(Debug)]
pub(crate) struct Dockerd {
    folder: PathBuf,
    /// Dropping it ends everything.
    keeper: Mutex<Child>,
}

/// The Docker Engine that tests share. Says so and is `None` where there can be none; in CI there
/// must be one.
pub(crate) fn shared() -> Option<&'static Dockerd> {
    SHARED.as_ref()
}

impl Dockerd {
    pub(crate) fn start(options: &str) -> Option<Self> {
        if let Some(why) = why_not() {
            let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
            assert!(!in_ci, "this must run in CI, and {why}");
            eprintln!("skipped: {why}");
            return None;
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = PathBuf::from(format!("/tmp/dockerd-{}-{number}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let mut keeper = Command::new("unshare");
        keeper.args(["--net", "sh", "-c", KEEPER, "keeper"]);
        keeper.arg(&folder).arg(options).stdin(Stdio::piped());
        keeper.stdout(Stdio::null()).stderr(Stdio::null());
        let dockerd = Self {
            folder,
            keeper: Mutex::new(keeper.spawn().unwrap()),
        };
        dockerd.wait();
        dockerd.make_image();
        Some(dockerd)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    /// Tells the keeper to do something: `kill`, `end`, `begin`.
    pub(crate) fn tell(&self, line: &str) {
        let mut keeper = self.keeper.lock().unwrap();
        writeln!(keeper.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Waits until it answers.
    pub(crate) fn wait(&self) {
        let begun = Instant::now();
        while !self
            .command(&["version"])
            .output()
            .unwrap()
            .status
            .success()
        {
            if begun.elapsed() > PATIENCE {
                let log = std::fs::read_to_string(self.folder.join("log"));
                panic!("dockerd does not answer:\n{}", log.unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", format!("unix://{}", self.socket().display()));
        command.args(words);
        command
    }

    /// What Docker's own command says.
    pub(crate) fn docker(&self, words: &[&str]) -> String {
        let output = self.command(words).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {words:?}: {error}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Nothing can be pulled where the tests run, so the image is made of this machine's busybox.
    fn make_image(&self) {
        let root = self.folder.join("image");
        for folder in ["bin", "etc", "tmp"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        let names = [
            "sh", "cat", "nc", "sleep", "echo", "stty", "httpd", "ip", "id", "ls", "kill",
        ];
        for name in names {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
        }
        std::fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
        let mut tar = Command::new("tar");
        tar.arg("-C")
            .arg(&root)
            .args(["-c", "."])
            .stdout(Stdio::piped());
        let mut tar = tar.spawn().unwrap();
        let changes = [
            "import",
            "-c",
            "ENV PATH=/bin A=image",
            "-c",
            "CMD [\"sleep\",\"60\"]",
        ];
        let mut import = self.command(&changes);
        import.args(["-", IMAGE]).stdin(tar.stdout.take().unwrap());
        let imported = import.stdout(Stdio::null()).status().unwrap();
        assert!(imported.success() && tar.wait().unwrap().success());
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        let keeper = self.keeper.get_mut().unwrap();
        drop(keeper.stdin.take());
        drop(keeper.wait());
    }
}

fn why_not() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let is_root = status.lines().any(|line| line.starts_with("Uid:\t0\t0"));
    if !is_root {
        return Some("it needs root".to_owned());
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let has = |name: &str| {
        path.split(':')
            .any(|folder| Path::new(folder).join(name).exists())
    };
    let missing = ["dockerd", "docker", "docker-registry", "unshare", "ip"]
        .into_iter()
        .find(|name| !has(name));
    if let Some(name) = missing {
        return Some(format!("this machine has no {name}"));
    }
    let mut start = [0; 4];
    let busybox = std::fs::File::open("/bin/busybox");
    let read = busybox.and_then(|mut file| file.read_exact(&mut start));
    read.is_err()
        .then(|| "this machine has no /bin/busybox".to_owned())
}
