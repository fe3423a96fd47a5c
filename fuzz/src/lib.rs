//! The bodies of the fuzz targets, as plain functions: a panic is a finding.

pub mod compose_file;
pub mod http_head;
pub mod smoke;
