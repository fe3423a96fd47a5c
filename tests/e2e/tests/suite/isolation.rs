//! What an instance is kept from.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use e2e::process::Process;
use e2e::{App, until};

use crate::support::{echoes, is_root};

/// Numbers of capabilities that reach beyond an instance (capabilities(7)).
const DANGEROUS: [(u32, &str); 9] = [
    (12, "NET_ADMIN"),
    (13, "NET_RAW"),
    (16, "SYS_MODULE"),
    (17, "SYS_RAWIO"),
    (19, "SYS_PTRACE"),
    (21, "SYS_ADMIN"),
    (22, "SYS_BOOT"),
    (25, "SYS_TIME"),
    (27, "MKNOD"),
];

#[test]
fn each_instance_has_namespaces_of_its_own() {
    let app = App::up(&echoes(&["a", "b", "c", "d", "e"]));
    let programs = app.programs("roads coins echo");
    assert_eq!(programs.len(), 5);
    let own = std::process::id().try_into().unwrap();
    let machine = Process::find(own).unwrap();
    for kind in ["net", "mnt", "pid", "uts", "ipc", "user", "cgroup"] {
        let all = programs.iter().chain([&machine]);
        let different: BTreeSet<String> = all.map(|process| process.namespace(kind)).collect();
        assert_eq!(different.len(), 6, "{kind}: {different:?}");
    }
}

#[test]
fn a_program_has_no_power_over_the_machine() {
    let app = App::up(&echoes(&["a"]));
    let program = app.programs("roads coins echo").remove(0);
    let inside = app.sh("a", "cat /proc/self/status");
    let inside = |name: &str| {
        let mut lines = inside.lines().filter_map(|line| line.split_once(':'));
        lines.find_map(|(key, value)| (key == name).then(|| value.trim().to_owned()))
    };
    for (who, status) in [
        (
            "the program",
            &(|name: &str| program.status(name)) as &dyn Fn(&str) -> Option<String>,
        ),
        ("a command in it", &inside),
    ] {
        assert_eq!(status("NoNewPrivs").as_deref(), Some("1"), "{who}");
        assert_eq!(status("Seccomp").as_deref(), Some("2"), "{who}");
        for set in ["CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb"] {
            let bits = u64::from_str_radix(&status(set).unwrap(), 16).unwrap();
            for (number, name) in DANGEROUS {
                assert_eq!(bits & (1 << number), 0, "{who} has {name} in {set}");
            }
        }
    }
    for line in [
        "mount -t tmpfs none /mnt",
        "unshare -U true",
        "unshare -n true",
        "hostname other",
        "ip link set lo down",
        "nft flush ruleset",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
        "kill -KILL 1 && kill -0 1 && false",
    ] {
        let outcome = app.try_sh("a", line);
        assert!(!outcome.status.success(), "{line:?} worked: {outcome:#?}");
    }
    assert_eq!(app.get("a", "/").status, 200);
}

#[test]
fn what_an_instance_writes_into_the_root_stays_its_own() {
    let app = App::up(&echoes(&["a", "b"]));
    let mark = format!("e2e-mark-{}", std::process::id());
    let places: &[&str] = if is_root() {
        &["/tmp", "/var/tmp", "/usr", "/etc", "/"]
    } else {
        &["/tmp"]
    };
    for place in places {
        let path = format!("{place}/{mark}");
        app.ok(&["exec", "-T", "a", "sh", "-c", &format!("echo a > {path}")]);
        assert_eq!(app.sh("a", &format!("cat {path}")), "a", "{path}");
        assert!(!Path::new(&path).exists(), "{path} is on the machine");
        assert!(
            !app.try_sh("b", &format!("cat {path}")).status.success(),
            "{path} is in b"
        );
    }
    let state = app.roads().state();
    let line = format!("ls {}/*", state.display());
    assert!(
        !app.try_sh("a", &line).status.success(),
        "the daemon's state is to be seen"
    );
}

#[test]
fn a_read_only_root_cannot_be_written() {
    let app = App::up(
        "services:
  a:
    image: host
    command: roads coins echo
    expose: [\"80\"]
    read_only: true
    tmpfs: [/scratch]
",
    );
    assert!(!app.try_sh("a", "echo > /usr/mark").status.success());
    assert!(!app.try_sh("a", "echo > /mark").status.success());
    assert_eq!(
        app.sh("a", "echo yes > /scratch/mark && cat /scratch/mark"),
        "yes"
    );
}

#[test]
fn an_instance_sees_its_own_processes_and_devices() {
    let app = App::up(&echoes(&["a"]));
    let names = app.sh("a", "cat /proc/[0-9]*/comm");
    let names: BTreeSet<&str> = names.lines().collect();
    assert!(names.contains("roads-init"), "{names:?}");
    assert!(!names.contains("roads-keeper"), "{names:?}");
    assert!(names.len() <= 4, "{names:?}");
    let devices = app.sh("a", "ls /dev");
    let devices: BTreeSet<&str> = devices.lines().collect();
    for wanted in [
        "null", "zero", "full", "random", "urandom", "tty", "pts", "ptmx", "shm",
    ] {
        assert!(devices.contains(wanted), "no {wanted} in {devices:?}");
    }
    for unwanted in ["mem", "kmsg", "vda", "sda", "loop0", "fuse", "kvm"] {
        assert!(!devices.contains(unwanted), "{unwanted} in {devices:?}");
    }
    app.ok(&[
        "exec",
        "-T",
        "a",
        "sh",
        "-c",
        "echo > /dev/null && head -c 4 /dev/urandom > /dev/null",
    ]);
}

#[test]
fn what_a_program_leaves_behind_is_reaped() {
    let app = App::up(&echoes(&["a"]));
    app.ok(&[
        "exec",
        "-T",
        "a",
        "sh",
        "-c",
        "for i in 1 2 3 4 5 6 7 8; do (sleep 0.05 &); done",
    ]);
    until("the orphans to be reaped", || {
        let states = app.sh("a", "cat /proc/[0-9]*/stat 2>/dev/null | sed 's/.*) //'");
        !states.lines().any(|line| line.starts_with('Z')) && states.lines().count() <= 6
    });
}

#[test]
fn exec_passes_input_output_and_the_exit_code() {
    let app = App::up(&echoes(&["a"]));
    let roads = app.roads();
    assert_eq!(app.try_sh("a", "exit 7").status.code(), Some(7));
    let outcome = app.try_sh("a", "echo out; echo err >&2");
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("out\n", "err\n")
    );
    let binary = roads.binary().display();
    let file = app.file().display();
    let line = format!("printf 'one\\ntwo' | {binary} exec -T -f {file} a wc -c");
    let mut shell = roads.shell(&line);
    assert_eq!(roads.outcome(&mut shell).stdout.trim(), "7");
    let outcome = app.run(&[
        "exec",
        "-T",
        "-e",
        "GREETING=hello",
        "-w",
        "/usr",
        "a",
        "sh",
        "-c",
        "echo $GREETING; pwd",
    ]);
    assert_eq!(outcome.stdout, "hello\n/usr\n");
    let outcome = app.fails(&["exec", "-T", "a", "no-such-program"]);
    assert!(outcome.stderr.contains("no-such-program"), "{outcome:#?}");
}

#[test]
fn exec_gives_a_terminal_where_there_is_one() {
    let app = App::up(&echoes(&["a"]));
    let roads = app.roads();
    let (binary, file) = (roads.binary().display(), app.file().display());
    let line = format!(
        "stty cols 91 rows 17; {binary} exec -it -f {file} a sh -c 'tty; stty size; exit 5'"
    );
    let mut script = roads.settled(Command::new("script"));
    script.args(["-q", "-e", "-c", &line, "/dev/null"]);
    let outcome = roads.outcome(&mut script);
    assert!(outcome.stdout.contains("/dev/pts/"), "{outcome:#?}");
    assert!(outcome.stdout.contains("17 91"), "{outcome:#?}");
    assert_eq!(outcome.status.code(), Some(5), "{outcome:#?}");
}

#[test]
fn a_program_runs_as_the_user_and_where_the_file_says() {
    let app = App::up(
        "services:
  a:
    image: host
    command: roads coins echo --port 8080
    expose: [\"8080\"]
    user: nobody
    working_dir: /usr/share
    hostname: lighthouse
",
    );
    let program = app.programs("roads coins echo").remove(0);
    if app
        .roads()
        .shortcomings()
        .iter()
        .any(|text| text.contains("one user id"))
    {
        // Then nobody is the one user that there is, or the start was refused in words.
        return;
    }
    assert_eq!(
        app.sh("a", "id -un; pwd; hostname"),
        "nobody\n/usr/share\nlighthouse"
    );
    let effective = program.status("CapEff").unwrap();
    assert_eq!(u64::from_str_radix(&effective, 16).unwrap(), 0);
    let ids = program.status("Uid").unwrap();
    assert!(!ids.split_whitespace().any(|id| id == "0"), "{ids}");
}
