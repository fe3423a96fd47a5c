//! The client and the server against each other, and the server against raw bytes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use super::*;

/// A server on a port of its own, for the rest of the process.
fn server() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        serve(&listener, |request| match request.path() {
            "/abort" => Answer::Abort,
            "/pieces" => {
                let pieces = ["ab", "", "c"].map(|piece| piece.as_bytes().to_vec());
                Answer::Pieces(Response::text(200, ""), Box::new(pieces.into_iter()))
            }
            "/raw" => {
                let response = Response {
                    status: 101,
                    ..Response::text(101, "")
                };
                Answer::Upgrade(response, |mut reader| {
                    let mut bytes = [0; 4];
                    reader.read_exact(&mut bytes)?;
                    reader.get_ref().write_all(&bytes)
                })
            }
            _ => Response::new(200, "text/plain", request.body).into(),
        });
    });
    authority
}

/// Sends bytes on a new connection and reads to its end.
fn exchange(authority: &str, bytes: &str) -> String {
    let mut stream = TcpStream::connect(authority).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn one_connection_carries_many_requests() {
    let mut client = Client::new(format!("http://{}", server()).parse().unwrap());
    for body in ["", "a", "some more"] {
        let response = client.request("POST", "/", &[], body.as_bytes()).unwrap();
        assert_eq!(
            (response.status, response.body.as_slice()),
            (200, body.as_bytes())
        );
    }
    assert_eq!(
        client.request("GET", "/pieces", &[], &[]).unwrap().body,
        b"abc"
    );
    assert!(client.request("GET", "/abort", &[], &[]).is_err());
    assert_eq!(client.request("GET", "/", &[], &[]).unwrap().status, 200);
}

#[test]
fn requests_may_be_sent_ahead_and_are_answered_in_order() {
    let one = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1";
    let last = "GET /pieces HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = exchange(&server(), &format!("{one}{last}"));
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain";
    let first = format!("{head}\r\ncontent-length: 1\r\n\r\n1");
    let second = format!(
        "{head}; charset=utf-8\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
         2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    );
    assert_eq!(answer, first + &second);
}

#[test]
fn an_old_client_gets_no_chunks_and_a_head_request_no_body() {
    let old = exchange(&server(), "GET /pieces HTTP/1.0\r\n\r\n");
    assert!(
        old.ends_with("\r\n\r\nabc") && !old.contains("chunked"),
        "{old}"
    );
    let head = "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
    let head = exchange(&server(), head);
    assert!(
        head.contains("content-length: 3") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
}

#[test]
fn an_upgraded_connection_keeps_the_bytes_sent_ahead() {
    let answer = exchange(&server(), "GET /raw HTTP/1.1\r\nHost: a\r\n\r\nabcd");
    assert!(
        answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("\r\n\r\nabcd"),
        "{answer}"
    );
}

#[test]
fn a_bad_request_is_refused_and_the_connection_closed() {
    let table = [
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("nonsense\r\n\r\n", "400"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
            "501",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n",
            "413",
        ),
    ];
    for (request, status) in table {
        let answer = exchange(&server(), request);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request:?}: {answer}"
        );
        assert!(answer.contains("connection: close"), "{answer}");
    }
}
