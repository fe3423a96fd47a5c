//! What an instance cannot do.

use std::path::Path;

use crate::world::World;

/// Docker's default without `NET_RAW`, `MKNOD` and `AUDIT_WRITE`.
const KEPT: &str = "00000000800405fb";

/// The kernel's words about the program itself.
async fn status_of(world: &World, script: &str, user: Option<&str>) -> Vec<(String, String)> {
    let wish = world
        .shell(script)
        .with(|spec| spec.user = user.map(str::to_owned));
    let text = world.output(&wish).await;
    let field = |line: &str| {
        let (key, value) = line.split_once(':')?;
        Some((key.to_owned(), value.trim().to_owned()))
    };
    text.lines().filter_map(field).collect()
}

fn value<'a>(fields: &'a [(String, String)], key: &str) -> &'a str {
    let found = fields.iter().find(|(name, _)| name == key);
    &found
        .unwrap_or_else(|| panic!("{key} is not in {fields:?}"))
        .1
}

pub(crate) async fn the_program_is_alone_with_its_pid_1(world: World) {
    let text = world
        .output(&world.shell("echo $$ $PPID; cat /proc/1/comm; echo /proc/[0-9]*"))
        .await;
    assert_eq!(text, "2 1\nroads-init\n/proc/1 /proc/2");
}

pub(crate) async fn root_has_few_capabilities_and_gets_no_more(world: World) {
    let fields = status_of(&world, "cat /proc/self/status", None).await;
    let has = |key| value(&fields, key);
    assert_eq!(
        (has("CapEff"), has("CapPrm"), has("CapBnd")),
        (KEPT, KEPT, KEPT)
    );
    assert_eq!(
        (has("CapInh"), has("CapAmb")),
        ("0000000000000000", "0000000000000000")
    );
    assert_eq!((has("NoNewPrivs"), has("Seccomp")), ("1", "2"));
    assert!(has("Uid").starts_with("0\t0"), "{}", has("Uid"));
}

pub(crate) async fn another_user_has_no_capabilities(world: World) {
    let fields = status_of(&world, "cat /proc/self/status", Some("33:34")).await;
    let has = |key| value(&fields, key);
    assert_eq!(
        (has("CapEff"), has("CapPrm")),
        ("0000000000000000", "0000000000000000")
    );
    assert_eq!(
        (has("Uid"), has("Gid")),
        ("33\t33\t33\t33", "34\t34\t34\t34")
    );
}

pub(crate) async fn what_administers_the_machine_is_refused(world: World) {
    for script in [
        "mount -t tmpfs none /mnt",
        "mount -o remount,rw /",
        "umount /proc",
        "umount -l /etc/hosts",
        "unshare -U true",
        "unshare -n true",
        "nsenter -t 1 -m true",
        "hostname other",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
        "echo b > /proc/sysrq-trigger",
        "mknod /tmp/disk b 254 0",
        "cat /proc/kcore | head -c 1 | grep -q .",
        "swapoff -a && false",
        "dmesg",
        "ip link add veth0 type veth",
        "chmod u+s /tmp && nft flush ruleset",
        "echo 0 > /sys/kernel/mm/transparent_hugepage/enabled",
    ] {
        let (status, _) = world.run(&world.shell(&format!("({script}) 2>&1"))).await;
        assert!(!status.is_success(), "{script}");
    }
}

pub(crate) async fn namespaces_are_its_own(world: World) {
    let script = "for n in user mnt pid net uts ipc cgroup; do readlink /proc/self/ns/$n; done";
    let inside = world.output(&world.shell(script)).await;
    let kinds = ["user", "mnt", "pid", "net", "uts", "ipc", "cgroup"];
    for (kind, inside) in kinds.into_iter().zip(inside.lines()) {
        let ours = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert_ne!(ours, Path::new(inside), "{kind}");
    }
    let devices = world
        .output(&world.shell("tail -n +3 /proc/net/dev | cut -d: -f1"))
        .await;
    assert_eq!(devices.trim(), "lo");
}

pub(crate) async fn the_machine_cannot_be_written(world: World) {
    let name = format!("roads-test-{}", std::process::id());
    let script = format!(
        "for d in / /usr /etc /var/lib /tmp /run /dev/shm; do echo x > $d/{name} || exit 1; done
        rm /etc/hostname 2>/dev/null; echo done"
    );
    assert_eq!(world.output(&world.shell(&script)).await, "done");
    for directory in ["/", "/usr", "/etc", "/var/lib", "/tmp", "/run", "/dev/shm"] {
        assert!(!Path::new(directory).join(&name).exists(), "{directory}");
    }
    assert!(Path::new("/etc/hostname").exists());
}

pub(crate) async fn what_is_ours_is_not_seen(world: World) {
    for directory in ["state", "runtime"] {
        let path = world.base.join(directory);
        let script = format!("ls -A {} 2>/dev/null | wc -l", path.display());
        assert_eq!(world.output(&world.shell(&script)).await, "0");
    }
}

pub(crate) async fn a_program_cannot_trace_its_pid_1(world: World) {
    for script in [
        "head -c 1 /proc/1/mem",
        "cat /proc/1/environ",
        "readlink /proc/1/fd/0",
        "ls /proc/1/root/",
    ] {
        let (status, _) = world.run(&world.shell(script)).await;
        assert!(!status.is_success(), "{script}");
    }
    let (status, _) = world
        .run(&world.shell("kill -9 1; kill -STOP 1; exit 9"))
        .await;
    assert_eq!(status, model::ExitStatus::Code(9));
}
