//! The bodies of the fuzz targets, as plain functions: a panic is a finding.

pub mod compose_file;
pub mod dns_message;
pub mod http_head;
pub mod resp;
pub mod smoke;
