//! Which process has a port of this machine, asked of /proc.

use std::fmt;
use std::fs;

use model::Transport;

/// The process that has a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// The name of its program, at most 15 bytes.
    pub program: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.program, self.pid)
    }
}

/// The process that has this port bound; none when it belongs to another user.
pub(crate) fn holder(transport: Transport, port: u16) -> Option<Holder> {
    let tables = match transport {
        Transport::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
        Transport::Udp => ["/proc/net/udp", "/proc/net/udp6"],
    };
    let tables = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok());
    let inodes: Vec<String> = tables
        .flat_map(|table| inodes(&table, transport, port))
        .collect();
    let links: Vec<String> = inodes
        .iter()
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|&pid| has_open(pid, &links))
        .map(|pid| Holder {
            pid,
            program: program(pid),
        })
}

/// The inodes of the sockets in a table of /proc/net that are bound to a port (proc(5)).
fn inodes(table: &str, transport: Transport, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let of_line = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (_, local_port) = fields.nth(1)?.rsplit_once(':')?;
        let state = fields.nth(1)?;
        let matches = u16::from_str_radix(local_port, 16) == Ok(port)
            && (transport == Transport::Udp || state == LISTEN);
        matches.then(|| fields.nth(5).map(str::to_owned))?
    };
    table.lines().skip(1).filter_map(of_line).collect()
}

fn has_open(pid: u32, links: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors
        .flatten()
        .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
        .any(|link| {
            links
                .iter()
                .any(|wanted| link.as_os_str() == wanted.as_str())
        })
}

fn program(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_listening_socket_on_the_port_counts() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1BA8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 71 1 0 100 0 0 10 0\n\
            1: 0100007F:1BA8 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 72 1 0 20 4 0 10 -1\n\
            2: 0100007F:1BA9 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 73 1 0 100 0 0 10 0\n";
        assert_eq!(inodes(table, Transport::Tcp, 7080), ["71"]);
        assert_eq!(inodes(table, Transport::Tcp, 1), Vec::<String>::new());
    }
}
