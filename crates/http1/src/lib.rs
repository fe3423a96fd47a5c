//! HTTP/1.1 without I/O: bytes in, events and edited heads out.
