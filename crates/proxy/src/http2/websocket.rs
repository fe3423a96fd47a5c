//! WebSocket over HTTP/2 (RFC 8441), to an endpoint that knows it over HTTP/1.1 (RFC 6455).

use std::future::poll_fn;
use std::pin::pin;

use ::bytes::Bytes;
use ::http::header::{SEC_WEBSOCKET_ACCEPT, UPGRADE};
use ::http::request::Parts;
use ::http::{Method, StatusCode};
use h2::SendStream;
use h2::ext::Protocol;
use http1::Persistence;
use http1::response::{ResponseHead, Role};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::exchange::{Stopped, Tried, unless_gone};
use super::head::{push_field, response_from_http1};
use super::to_http1::{Download, cut};
use super::upload::{Last, Piece, Upload, send_to_caller};
use crate::buffer::Buffer;
use crate::random::Random;
use crate::worker::Worker;

/// Whether a request asks for a WebSocket.
pub(super) fn is_asked_for(head: &Parts) -> bool {
    let protocol = head.extensions.get::<Protocol>();
    head.method == Method::CONNECT && protocol.is_some_and(|p| p.as_str() == "websocket")
}

/// What a request for a WebSocket has in HTTP/1.1 and not in HTTP/2.
pub(super) fn push_upgrade(out: &mut Vec<u8>, random: &Random) {
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&random.next().to_ne_bytes());
    nonce[8..].copy_from_slice(&random.next().to_ne_bytes());
    out.extend_from_slice(b"upgrade: websocket\r\nconnection: upgrade\r\n");
    push_field(out, "sec-websocket-key", base64(nonce).as_bytes());
}

/// RFC 4648, of 16 bytes.
fn base64(bytes: [u8; 16]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = u128::from_be_bytes(bytes);
    let letter = |at: u32| {
        let shifted = match 122_u32.checked_sub(6 * at) {
            Some(shift) => bits >> shift,
            // The last letter has two bits of its own.
            None => bits << 4,
        };
        char::from(LETTERS[(shifted & 63) as usize])
    };
    (0..22).map(letter).chain(['=', '=']).collect()
}

/// Waits for the endpoint to agree, then relays bytes both ways until both sides have ended.
pub(super) async fn tunnel(
    mut download: Download<'_, '_>,
    endpoint: WriteHalf<'_>,
    upload: &mut Upload,
) -> (Tried, Persistence) {
    let close = |tried| (tried, Persistence::Close);
    let mut buffer = match download.first_bytes().await {
        Ok(buffer) => buffer,
        Err(tried) => return close(tried),
    };
    let head = loop {
        match download.next_head(&mut buffer).await {
            Ok(head) if head.role() == Role::Interim => {}
            Ok(head) => break head,
            Err(tried) => return close(tried),
        }
    };
    if head.role() != Role::Switching {
        return match download.answer(&head, buffer).await {
            Ok(persistence) => (Tried::Answered, persistence),
            Err(tried) => close(tried),
        };
    }
    close(relay(download, &head, buffer, endpoint, upload).await)
}

async fn relay(
    download: Download<'_, '_>,
    head: &ResponseHead,
    first: Buffer,
    endpoint: WriteHalf<'_>,
    upload: &mut Upload,
) -> Tried {
    let Some(mut response) = response_from_http1(head) else {
        return Tried::Failed("its head is malformed".to_owned());
    };
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().remove(SEC_WEBSOCKET_ACCEPT);
    response.headers_mut().remove(UPGRADE);
    let Ok(mut to_caller) = download.respond.send_response(response, false) else {
        return Tried::CallerGone;
    };
    let uploading = pin!(up(upload, endpoint));
    let downloading = down(download.worker, first, download.endpoint, &mut to_caller);
    match unless_gone(downloading, uploading).await {
        Ok(tried) => tried.after_head(),
        Err(_gone) => Tried::Left,
    }
}

/// Bytes from the caller, until it ends its side; then only the endpoint may end the conversation.
async fn up(upload: &mut Upload, mut endpoint: WriteHalf<'_>) -> Stopped {
    upload.forget();
    let mut more = true;
    while more {
        let (bytes, last) = match upload.next().await {
            Ok(Piece::Data(bytes, last)) => (bytes, last),
            Ok(Piece::Trailers(_)) => (Bytes::new(), Last::Yes),
            Err(_) => return Stopped::CallerGone,
        };
        if endpoint.write_all(&bytes).await.is_err() {
            return Stopped::EndpointDeaf;
        }
        upload.sent(bytes.len());
        more = last == Last::No;
    }
    match endpoint.shutdown().await {
        Ok(()) => std::future::pending().await,
        Err(_) => Stopped::EndpointDeaf,
    }
}

/// Bytes from the endpoint, until it ends its side.
async fn down(
    worker: &Worker,
    first: Buffer,
    mut endpoint: ReadHalf<'_>,
    to: &mut SendStream<Bytes>,
) -> Tried {
    let mut buffer = first;
    loop {
        if !buffer.is_empty() {
            let bytes = Bytes::copy_from_slice(buffer.bytes());
            if send_to_caller(to, Piece::Data(bytes, Last::No))
                .await
                .is_err()
            {
                return Tried::CallerGone;
            }
        }
        // Without a buffer while the endpoint is silent.
        drop(buffer);
        let read = tokio::select! {
            biased;
            read = worker.buffers.read(&mut endpoint) => read,
            _ = poll_fn(|context| to.poll_reset(context)) => return Tried::CallerGone,
        };
        buffer = match read {
            Ok(buffer) if buffer.is_empty() => break,
            Ok(buffer) => buffer,
            Err(_) => return cut(to),
        };
    }
    match send_to_caller(to, Piece::Data(Bytes::new(), Last::Yes)).await {
        Ok(()) => Tried::Answered,
        Err(_gone) => Tried::CallerGone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_sixteen_bytes_in_base64() {
        assert_eq!(base64(*b"the sample nonce"), "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(base64([0xff; 16]), "/////////////////////w==");
    }
}
