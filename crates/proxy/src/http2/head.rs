//! Heads of HTTP/2: judged and edited as [`http1`] does its own, and turned into the other kind.

use std::fmt::Write as _;

use ::bytes::Bytes;
use ::http::header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, TE};
use ::http::request::Parts;
use ::http::uri::{PathAndQuery, Scheme};
use ::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
};
use http1::request::{RequestHead, Trust};
use http1::response::ResponseHead;
use http1::{Authority, TraceSeed, fields};

use super::channel::Body;
use super::websocket;
use crate::connection::Caller;
use crate::random::Random;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Finds whom a request is addressed to, and lets only `:authority` say it from here on.
///
/// # Errors
/// What is wrong with the head, in words.
pub(super) fn settle(parts: &mut Parts) -> Result<(), &'static str> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next().cloned();
    if hosts.next().is_some() {
        return Err("the host field is repeated");
    }
    let host = host.as_ref().map(HeaderValue::to_str).transpose();
    let host = host.map_err(|_| "the host field is not a plain host and port")?;
    let named = parts.uri.authority().map(|authority| authority.as_str());
    if host
        .zip(named)
        .is_some_and(|(host, named)| !host.eq_ignore_ascii_case(named))
    {
        return Err("the host field differs from the request's authority");
    }
    let authority = named.or(host).ok_or("the request names no authority")?;
    Authority::parse(authority).map_err(|_| "the authority is not a plain host and port")?;
    let path = parts.uri.path();
    let asterisk = path == "*" && parts.method == Method::OPTIONS;
    if !asterisk && !path.starts_with('/') {
        return Err("the request's path is not a path");
    }
    if parts
        .headers
        .keys()
        .any(|name| fields::imitates_framing(name.as_str()))
    {
        return Err("a field name imitates content-length or transfer-encoding");
    }
    let (authority, path) = (authority.to_owned(), parts.uri.path_and_query().cloned());
    parts.uri = uri(&authority, path)?;
    parts.headers.remove(HOST);
    Ok(())
}

fn uri(authority: &str, path: Option<PathAndQuery>) -> Result<Uri, &'static str> {
    let uri = Uri::builder().scheme(Scheme::HTTP).authority(authority);
    let uri = uri.path_and_query(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    uri.build()
        .map_err(|_| "the request's authority or path is malformed")
}

/// Adds what an endpoint is to know about the hop, as [`RequestHead::write_to`] does.
pub(crate) fn forward(parts: &mut Parts, caller: Caller, trace: TraceSeed) {
    let headers = &mut parts.headers;
    if caller.trust == Trust::Nobody {
        let claims = |name: &&HeaderName| fields::claims_earlier_hop(name.as_str());
        let claims: Vec<HeaderName> = headers.keys().filter(claims).cloned().collect();
        for name in claims {
            headers.remove(name);
        }
    }
    let mut path = String::new();
    for earlier in headers
        .get_all(&FORWARDED_FOR)
        .iter()
        .filter(|value| !value.is_empty())
    {
        if let Ok(earlier) = earlier.to_str() {
            path.push_str(earlier);
            path.push_str(", ");
        }
    }
    // A String takes every write.
    let _ = write!(path, "{}", caller.address);
    headers.insert(FORWARDED_FOR, text(path));
    if !headers.contains_key(&FORWARDED_PROTO) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    }
    if let Some(authority) = parts
        .uri
        .authority()
        .filter(|_| !headers.contains_key(&FORWARDED_HOST))
    {
        headers.insert(FORWARDED_HOST, text(authority.as_str().to_owned()));
    }
    if !is_traced(headers) {
        let mut traceparent = Vec::with_capacity(55);
        trace.push(&mut traceparent);
        headers.remove(&TRACESTATE);
        headers.insert(TRACEPARENT, value(traceparent));
    }
}

fn is_traced(headers: &HeaderMap) -> bool {
    let mut all = headers.get_all(&TRACEPARENT).iter();
    let valid = |value: &HeaderValue| http1::is_valid_traceparent(value.as_bytes());
    all.next().is_some_and(valid) && all.next().is_none()
}

/// A value that was checked before, or made by us.
fn text(text: String) -> HeaderValue {
    value(text.into_bytes())
}

fn value(bytes: Vec<u8>) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(bytes)).unwrap_or(HeaderValue::from_static(""))
}

/// A request as HTTP/1.1 has it. It is to be read again by [`http1::request::parse`], which judges it
/// as it would any caller's, and without edits.
pub(super) fn to_http1(parts: &Parts, body: Body, random: &Random) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let tunnel = websocket::is_asked_for(parts);
    let method = if tunnel { "GET" } else { parts.method.as_str() };
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let authority = parts
        .uri
        .authority()
        .map_or("", |authority| authority.as_str());
    push_field(&mut out, "host", authority.as_bytes());
    let mut cookies: Vec<&[u8]> = Vec::new();
    for (name, value) in &parts.headers {
        match *name {
            // A client may send them in pieces (RFC 9113 §8.2.3).
            COOKIE => cookies.push(value.as_bytes()),
            TE => out.extend_from_slice(b"te: trailers\r\nconnection: te\r\n"),
            _ => push_field(&mut out, name.as_str(), value.as_bytes()),
        }
    }
    if !cookies.is_empty() {
        push_field(&mut out, "cookie", &cookies.join(&b"; "[..]));
    }
    if tunnel {
        websocket::push_upgrade(&mut out, random);
    }
    let framed = parts.headers.contains_key(CONTENT_LENGTH);
    if body == Body::Some && !framed {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

pub(crate) fn push_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// A request of HTTP/1.1 as HTTP/2 has it, but for what [`forward`] adds; none if it cannot be said.
pub(crate) fn from_http1(head: &RequestHead, host_if_absent: &str) -> Option<Parts> {
    let authority = head
        .authority()
        .map_or(host_if_absent, |authority| authority.as_str());
    let path = match head.query() {
        Some(query) => format!("{}?{query}", head.path()),
        None => head.path().to_owned(),
    };
    let uri = uri(authority, Some(path.parse().ok()?)).ok()?;
    let request = Request::builder().method(head.method_name()).uri(uri);
    let (mut parts, ()) = request.version(Version::HTTP_2).body(()).ok()?.into_parts();
    append(&mut parts.headers, head.end_to_end_fields())?;
    if let http1::Framing::Length(length) = head.framing() {
        parts
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if head.takes_trailers() {
        parts
            .headers
            .insert(TE, HeaderValue::from_static("trailers"));
    }
    Some(parts)
}

/// A response of HTTP/1.1 as HTTP/2 has it; none if it cannot be said.
pub(super) fn response_from_http1(head: &ResponseHead) -> Option<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(head.status()).ok()?;
    *response.version_mut() = Version::HTTP_2;
    append(response.headers_mut(), head.end_to_end_fields())?;
    if let Some(length) = head.declared_length() {
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Some(response)
}

/// Appends fields that were read from a valid HTTP/1.1 message.
pub(crate) fn append<'f>(
    headers: &mut HeaderMap,
    fields: impl Iterator<Item = (&'f str, &'f [u8])>,
) -> Option<()> {
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(value).ok()?);
    }
    Some(())
}

/// Whether a head is one of gRPC's; gRPC-Web has its status elsewhere.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    match kind.and_then(|kind| kind.split_at_checked("application/grpc".len())) {
        Some((kind, rest)) if kind.eq_ignore_ascii_case(b"application/grpc") => {
            matches!(rest, [] | [b'+' | b';' | b' ', ..])
        }
        Some(_) | None => false,
    }
}
