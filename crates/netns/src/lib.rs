//! Sockets and the fixed nftables ruleset inside another network namespace.
