//! The wire types of the HTTP API, and its OpenAPI document.
