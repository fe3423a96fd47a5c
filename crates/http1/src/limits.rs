//! What a peer may make us hold or read: the bounds of one message.

/// Fields one head can have at the very most, whatever [`Limits::fields_max`] says: their places are
/// found in an array on the stack.
pub(crate) const FIELDS_CAP: usize = 128;

/// The bounds of one message. A message beyond one of them is refused, never cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a whole head, its empty line included (431).
    pub head_bytes_max: u32,
    /// Bytes of a request line (414). RFC 9112 §3 asks for at least 8,000.
    pub line_bytes_max: u32,
    /// Fields in a head (431); more than 128 count as 128.
    pub fields_max: usize,
    /// Payload bytes of a body (413).
    pub body_bytes_max: u64,
    /// Bytes of the extensions of one chunk.
    pub chunk_extension_bytes_max: u32,
    /// Bytes of all trailer fields of a body together (431).
    pub trailer_bytes_max: u32,
    /// Interim (1xx) heads before one final response.
    pub interim_max: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 64 * 1024,
            line_bytes_max: 16 * 1024,
            fields_max: 100,
            body_bytes_max: u64::MAX,
            chunk_extension_bytes_max: 256,
            trailer_bytes_max: 8 * 1024,
            interim_max: 16,
        }
    }
}
