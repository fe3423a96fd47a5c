//! Why a message is refused, in words, and the status that answers it.

use thiserror::Error;

/// What is wrong with a message. After a `Reject` nothing more can be read from that connection: where
/// the message ends is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Reject {
    /// The request line does not begin with a token and one space.
    #[error("the request's method is not a token")]
    Method,
    /// No method that long is known to anybody (RFC 9112 §3).
    #[error("the request's method is longer than 32 bytes")]
    MethodTooLong,
    /// We open no tunnels.
    #[error("the method CONNECT is not offered here")]
    Connect,
    /// A space, a control byte, a byte beyond ASCII, or a `#` in the request target (RFC 9112 §3.2).
    #[error("the request target contains a byte that must be percent-encoded")]
    TargetByte,
    /// Neither `/path`, `http://authority/path`, nor `*` with OPTIONS.
    #[error("the request target is neither a path nor a whole http address")]
    TargetForm,
    /// The authority of an absolute target is empty, malformed, or has userinfo (RFC 9110 §4.2.4).
    #[error("the request target's authority is not a plain host and port")]
    TargetAuthority,
    /// See [`crate::Limits::line_bytes_max`].
    #[error("the request line is too long")]
    LineTooLong,
    /// What follows the target is no HTTP version.
    #[error("the request line does not end with an http version")]
    VersionSyntax,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    #[error("only http versions 1.0 and 1.1 are spoken here")]
    Version,
    /// More than one empty line, or a bare LF, stands before the request line (RFC 9112 §2.2).
    #[error("more than one empty line stands before the request line")]
    EmptyLines,
    /// CR and LF appear only together (RFC 9112 §2.2).
    #[error("a line of the head does not end with cr lf")]
    LineEnd,
    /// Also a folded line, which begins with a space, and a space before the colon (RFC 9112 §5).
    #[error("a field name is not a token followed by a colon, or its line is folded")]
    FieldName,
    /// A control byte in a field's value (RFC 9110 §5.5).
    #[error("a field value contains a control byte")]
    FieldValue,
    /// See [`crate::Limits::fields_max`].
    #[error("the head has too many fields")]
    TooManyFields,
    /// See [`crate::Limits::head_bytes_max`].
    #[error("the head is too long")]
    HeadTooLong,
    /// HTTP/1.1 demands it (RFC 9112 §3.2).
    #[error("the host field is missing")]
    HostMissing,
    /// Readers differ about which one counts.
    #[error("the host field is repeated")]
    HostRepeated,
    /// Empty, with userinfo, a list, or not a host and port.
    #[error("the host field is not a plain host and port")]
    HostInvalid,
    /// An absolute target and the host field name different authorities.
    #[error("the host field differs from the request target's authority")]
    HostDiffers,
    /// Not a plain decimal number below 2^63.
    #[error("content-length is not a decimal number")]
    ContentLength,
    /// Refused even when all are equal: RFC 9112 §6.3 allows merging, nobody honest needs it.
    #[error("content-length is repeated")]
    ContentLengthRepeated,
    /// The classic of request smuggling (RFC 9112 §6.3).
    #[error("content-length and transfer-encoding are both present")]
    LengthAndCoding,
    /// HTTP/1.0 has no transfer codings (RFC 9112 §6.1).
    #[error("an http/1.0 message has a transfer-encoding")]
    CodingInHttp10,
    /// Not `chunked`, or not only once, or not last (RFC 9112 §6.3).
    #[error("transfer-encoding is not exactly chunked")]
    Coding,
    /// Another coding before a final `chunked`: legal, and not spoken here.
    #[error("transfer-encoding names a coding other than chunked")]
    CodingUnsupported,
    /// `content_length` or `transfer_encoding`: CGI-like readers take them for the real ones.
    #[error("a field name imitates content-length or transfer-encoding with an underscore")]
    FramingLookalike,
    /// A connection option is not a token (RFC 9110 §7.6.1).
    #[error("connection is not a list of tokens")]
    ConnectionOption,
    /// More than 16 options that name fields.
    #[error("connection names too many fields")]
    TooManyConnectionOptions,
    /// `Connection: host` and the like would strip what decides the message's meaning.
    #[error("connection names a field that is not hop-by-hop")]
    ConnectionNomination,
    /// Something other than `100-continue` (RFC 9110 §10.1.1).
    #[error("the expectation is not 100-continue")]
    Expectation,
    /// See [`crate::Limits::body_bytes_max`].
    #[error("the body is too large")]
    BodyTooLarge,
    /// No hexadecimal digit, or something else than `;` or CR after the digits (RFC 9112 §7.1).
    #[error("a chunk size is not a hexadecimal number")]
    ChunkSize,
    /// More than 16 digits, or 2^63 and beyond.
    #[error("a chunk size is too large")]
    ChunkSizeTooLarge,
    /// A control byte or a byte beyond ASCII in a chunk extension.
    #[error("a chunk extension contains a forbidden byte")]
    ChunkExtension,
    /// See [`crate::Limits::chunk_extension_bytes_max`].
    #[error("a chunk extension is too long")]
    ChunkExtensionTooLong,
    /// A chunk's size line, its data, or a trailer line does not end with CR LF exactly.
    #[error("a line of the chunked body does not end with cr lf")]
    ChunkLineEnd,
    /// Not a token followed by a colon.
    #[error("a trailer name is not a token followed by a colon, or its line is folded")]
    TrailerName,
    /// A control byte in a trailer's value.
    #[error("a trailer value contains a control byte")]
    TrailerValue,
    /// Framing, routing, and authentication have no place there (RFC 9110 §6.5.1).
    #[error("a trailer field may not stand in a trailer")]
    TrailerForbidden,
    /// See [`crate::Limits::trailer_bytes_max`].
    #[error("the trailer is too long")]
    TrailerTooLong,
    /// The connection ended inside a body.
    #[error("the connection ended before the body did")]
    BodyTruncated,
    /// The response does not begin with `HTTP/1.x NNN`.
    #[error("the response's status line is malformed")]
    StatusLine,
    /// A 1xx or 204 response announces a body (RFC 9112 §6.1, RFC 9110 §8.6).
    #[error("a response that has no body announces one")]
    BodyAnnounced,
    /// A 101 that nobody asked for, or without `Connection: upgrade` and `Upgrade`.
    #[error("the endpoint switched protocols without being asked, or without saying to what")]
    Switch,
    /// See [`crate::Limits::interim_max`].
    #[error("the endpoint sent too many interim responses")]
    TooManyInterim,
}

impl Reject {
    /// The status that answers a *request* refused for this. A refused *response* is always answered
    /// to the client with 502.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::BodyTooLarge | Self::ChunkSizeTooLarge => 413,
            Self::LineTooLong => 414,
            Self::Expectation => 417,
            Self::TooManyFields | Self::HeadTooLong | Self::TrailerTooLong => 431,
            Self::MethodTooLong | Self::Connect | Self::CodingUnsupported => 501,
            Self::StatusLine | Self::BodyAnnounced | Self::Switch | Self::TooManyInterim => 502,
            Self::Version => 505,
            Self::Method
            | Self::TargetByte
            | Self::TargetForm
            | Self::TargetAuthority
            | Self::VersionSyntax
            | Self::EmptyLines
            | Self::LineEnd
            | Self::FieldName
            | Self::FieldValue
            | Self::HostMissing
            | Self::HostRepeated
            | Self::HostInvalid
            | Self::HostDiffers
            | Self::ContentLength
            | Self::ContentLengthRepeated
            | Self::LengthAndCoding
            | Self::CodingInHttp10
            | Self::Coding
            | Self::FramingLookalike
            | Self::ConnectionOption
            | Self::TooManyConnectionOptions
            | Self::ConnectionNomination
            | Self::ChunkSize
            | Self::ChunkExtension
            | Self::ChunkExtensionTooLong
            | Self::ChunkLineEnd
            | Self::TrailerName
            | Self::TrailerValue
            | Self::TrailerForbidden
            | Self::BodyTruncated => 400,
        }
    }
}
