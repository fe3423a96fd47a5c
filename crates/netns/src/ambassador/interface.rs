//! The interface `lo` of an instance: up, with one more address and perhaps a default route, and
//! the namespace's settings.

use std::{fs, io};

use rustix::io::Errno;

use super::{Egress, InstallError, Unset};
use crate::INSTANCE_ADDRESS;
use crate::netlink::{Batch, CREATE, ExchangeError, REPLACE, Socket};

/// `RTM_NEWLINK`, `RTM_NEWADDR`, `RTM_NEWROUTE` of `linux/rtnetlink.h`.
const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
/// `IFA_ADDRESS`, `IFA_LOCAL` of `linux/if_addr.h`.
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
/// `RTA_OIF`, `RTA_PREFSRC` of `linux/rtnetlink.h`.
const OUT_INTERFACE: u16 = 4;
const PREFERRED_SOURCE: u16 = 7;
/// `AF_INET`.
const IPV4: u8 = 2;
/// `lo` is the first interface of every network namespace.
const LO: u32 = 1;
/// `IFF_UP`.
const UP: u32 = 1;

/// Brings `lo` up, gives it [`INSTANCE_ADDRESS`] where it is the way out, and for [`Egress::Tcp`] a default route, without
/// which the kernel would refuse calls to the outside before any rule sees them.
pub(super) fn bring_up(egress: Egress) -> Result<(), InstallError> {
    let mut steps = vec!["bring up the interface lo"];
    let mut batch = Batch::default();
    let instance = INSTANCE_ADDRESS.octets();
    batch.message(NEW_LINK, 0, &link(), |_| {});
    match egress {
        Egress::Tcp | Egress::None => {
            steps.push("give lo the address 10.127.0.1");
            batch.message(NEW_ADDRESS, CREATE | REPLACE, &address(), |attributes| {
                attributes.put(LOCAL, &instance);
                attributes.put(ADDRESS, &instance);
            });
        }
        Egress::Own => {}
    }
    match egress {
        Egress::Tcp => {
            steps.push("add a default route by lo");
            batch.message(
                NEW_ROUTE,
                CREATE | REPLACE,
                &default_route(),
                |attributes| {
                    attributes.put(OUT_INTERFACE, &LO.to_ne_bytes());
                    attributes.put(PREFERRED_SOURCE, &instance);
                },
            );
        }
        Egress::None | Egress::Own => {}
    }
    batch.acknowledge_last();
    let outcome = Socket::open(None).map_err(ExchangeError::Transport);
    outcome
        .and_then(|socket| socket.exchange(&batch))
        .map_err(|error| explain(error, &steps))
}

/// Sets what an instance expects of a machine of its own; returns what could not be set.
pub(super) fn set_sysctls() -> Vec<Unset> {
    let low_ports = fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    let steady_timestamps = fs::write("/proc/sys/net/ipv4/tcp_timestamps", "2");
    let settings = [
        ("net.ipv4.ip_unprivileged_port_start", low_ports),
        ("net.ipv4.tcp_timestamps", steady_timestamps),
        ("net.ipv4.ping_group_range", let_all_groups_ping()),
    ];
    let unset =
        |(name, outcome): (_, io::Result<()>)| outcome.err().map(|source| Unset { name, source });
    settings.into_iter().filter_map(unset).collect()
}

/// The kernel takes only groups that our user namespace maps: all of them, the usual 65,536 of a
/// subordinate range, or just one.
fn let_all_groups_ping() -> io::Result<()> {
    let path = "/proc/sys/net/ipv4/ping_group_range";
    let by_size = ["0 2147483647", "0 65535", "0 0"].map(|range| move || fs::write(path, range));
    let [all, usual, one] = by_size;
    all().or_else(|_| usual()).or_else(|_| one())
}

fn explain(error: ExchangeError, steps: &[&str]) -> InstallError {
    let step = |number: u32| steps.get(number as usize).unwrap_or(&steps[0]).to_string();
    match error {
        ExchangeError::Transport(source) => InstallError::Netlink {
            step: step(0),
            source,
        },
        ExchangeError::Refused(number, Errno::PERM | Errno::ACCESS) => InstallError::Forbidden {
            step: step(number),
            source: Errno::PERM.into(),
        },
        ExchangeError::Refused(number, errno) => InstallError::Refused {
            step: step(number),
            source: errno.into(),
        },
    }
}

/// `struct ifinfomsg`: family, type, index, flags, and which flags to change.
fn link() -> [u8; 16] {
    let mut link = [0; 16];
    link[4..8].copy_from_slice(&LO.to_ne_bytes());
    link[8..12].copy_from_slice(&UP.to_ne_bytes());
    link[12..16].copy_from_slice(&UP.to_ne_bytes());
    link
}

/// `struct ifaddrmsg`: family, prefix length, flags, scope (universe, so that it counts as an
/// address of the machine), index.
fn address() -> [u8; 8] {
    let mut address = [IPV4, 32, 0, 0, 0, 0, 0, 0];
    address[4..8].copy_from_slice(&LO.to_ne_bytes());
    address
}

/// `struct rtmsg`: family, lengths of destination and source, type of service, table (main),
/// protocol (static), scope (link), type (unicast), flags.
fn default_route() -> [u8; 12] {
    [IPV4, 0, 0, 0, 254, 4, 253, 1, 0, 0, 0, 0]
}
