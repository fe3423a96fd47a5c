//! The example store's RESP reader under any bytes. The claims are the example's own.

/// Reads the bytes as commands and as replies.
///
/// # Panics
/// On a finding.
pub fn run(data: &[u8]) {
    coins::fuzz_resp(data);
}
