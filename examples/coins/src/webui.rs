//! `webui`: one page that asks for the figures every second and draws the speed.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::arguments::Arguments;
use crate::http::{Request, Response, json_string, serve};
use crate::resp::Reply;
use crate::store::{CallError, Client};
use crate::{ServiceError, chain, host_name, log};

const PAGE: &str = include_str!("webui.html");

/// Serves until the process is told to stop.
pub(crate) fn run(arguments: &Arguments) -> Result<(), ServiceError> {
    let listener = crate::open("webui", arguments.port(80)?)?;
    let instance = host_name();
    serve(&listener, move |request| answer(&request, &instance).into());
    Ok(())
}

fn answer(request: &Request, instance: &str) -> Response {
    match request.path() {
        "/" => Response::new(200, "text/html; charset=utf-8", PAGE.into()),
        "/json" => match figures(instance) {
            Ok(json) => Response::json(200, json),
            Err(error) => {
                let reason = chain(&error);
                log(&format!("webui: {reason}"));
                Response::json(503, format!("{{\"error\":{}}}\n", json_string(&reason)))
            }
        },
        _ => Response::text(404, "not found\n"),
    }
}

/// The figures as JSON. The page computes the speed from two of them, so that it is right
/// whichever instance of this service answers.
fn figures(instance: &str) -> Result<String, CallError> {
    let mut store = Client::from_environment();
    let hashes = number(&store.call(&["GET", "hashes"])?);
    let coins = number(&store.call(&["GET", "coins"])?);
    let latest = json_text(&store.call(&["HGET", "latest", "hash"])?);
    let worker = json_text(&store.call(&["HGET", "latest", "worker"])?);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    let instance = json_string(instance);
    Ok(format!(
        "{{\"now\":{now},\"hashes\":{hashes},\"coins\":{coins},\
         \"latest\":{latest},\"worker\":{worker},\"instance\":{instance}}}\n"
    ))
}

fn number(reply: &Reply) -> u64 {
    text(reply)
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

fn json_text(reply: &Reply) -> String {
    text(reply).map_or_else(|| "null".to_owned(), |text| json_string(&text))
}

fn text(reply: &Reply) -> Option<String> {
    match reply {
        Reply::Bulk(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Reply::Simple(text) => Some(text.clone()),
        Reply::Integer(number) => Some(number.to_string()),
        Reply::Nil | Reply::Error(_) | Reply::Array(_) => None,
    }
}
