//! The ambassador of an instance: installed by its first process, its sockets handed to the keeper.

use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};

use netns::ambassador::{InstallError, UdpCapture};

use super::init::nanoseconds;
use crate::failure::{Attempt, Failure};
use crate::keeper::channel::Channel;
use crate::keeper::protocol::{Egress, FromInit, Recipe};

const HAND_OVER: &str = "cannot hand the ambassador's sockets over";
/// How many descriptors go with one message; the kernel takes 253.
const PER_MESSAGE: usize = 200;

/// Installs what does not depend on the instance.
pub(super) fn install(recipe: Recipe, channel: &Channel) -> Result<(), Failure> {
    let wished = netns::ambassador::Wish {
        tcp_captures: recipe.captures,
        udp: Vec::new(),
        egress: match recipe.egress {
            Egress::Tcp => netns::ambassador::Egress::Tcp,
            Egress::None => netns::ambassador::Egress::None,
        },
    };
    let sockets = netns::ambassador::install(&wished).map_err(explain)?;
    let namespace = fs::File::open("/proc/self/ns/net")
        .attempt(|| "cannot open the instance's network namespace")?;
    let mut descriptors = vec![namespace.as_fd(), sockets.dns.as_fd()];
    descriptors.extend(sockets.tcp.iter().map(AsFd::as_fd));
    let unset = sockets.unset.iter().map(chain).collect();
    send(channel, &FromInit::Ambassador { unset }, &descriptors)
}

/// Captures the datagrams that this instance may send.
pub(super) fn capture_datagrams(udp: &[(Ipv4Addr, u16)], channel: &Channel) -> Result<(), Failure> {
    let wished: Vec<UdpCapture> = udp
        .iter()
        .map(|&(address, port)| UdpCapture { address, port })
        .collect();
    let captures = netns::ambassador::add_udp(&wished).map_err(explain)?;
    let descriptors: Vec<_> = captures.iter().map(|(_, socket)| socket.as_fd()).collect();
    let message = FromInit::Datagrams { at: nanoseconds() };
    send(channel, &message, &descriptors)
}

/// In as many messages as the descriptors take, of which the last says what they are.
fn send(
    channel: &Channel,
    message: &FromInit,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Failure> {
    let whole = descriptors.len() / PER_MESSAGE * PER_MESSAGE;
    let (before, last) = descriptors.split_at(whole);
    for some in before.chunks(PER_MESSAGE) {
        channel
            .send(&FromInit::Descriptors, some)
            .attempt(|| HAND_OVER)?;
    }
    channel.send(message, last).attempt(|| HAND_OVER)
}

fn explain(error: InstallError) -> Failure {
    let what = "cannot install the instance's ambassador";
    match error {
        InstallError::Missing { .. } => Failure::forbidden(
            what,
            chain(&error),
            "as root: modprobe -a nf_tables nft_redir nft_reject_ipv4 nft_ct, or use a kernel \
             that has them",
        ),
        InstallError::Forbidden { .. } => Failure::forbidden(
            what,
            chain(&error),
            "allow user namespaces full rights (AppArmor, SELinux), or run the daemon as root",
        ),
        InstallError::TooManyUdp { .. } => Failure::forbidden(
            what,
            chain(&error),
            "declare fewer UDP ports, or split the app",
        ),
        InstallError::Namespace(_)
        | InstallError::Socket { .. }
        | InstallError::Netlink { .. }
        | InstallError::Refused { .. } => Failure::failed(what, chain(&error)),
    }
}

/// An error and its causes on one line.
fn chain(error: &(impl std::error::Error + ?Sized)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_causes() {
        let inner = std::io::Error::other("inner");
        let outer = netns::NamespaceError::Enter { source: inner };
        assert_eq!(chain(&outer), "cannot enter the network namespace: inner");
    }
}
