//! `send`, `reply`, `edit`: say something once, whatever happens to the connection.

use std::io::Read;

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    args::{Edit, Reply, Send},
    out::{Out, text},
};
use crate::{
    client::{Client, Lost},
    error::Failure,
    home::Home,
};

/// The longest message, in bytes.
const TEXT_CAP: usize = 65_536;

pub(super) async fn run(home: &Home, send: Send, out: Out) -> Result<(), Failure> {
    let client = Client::of(home)?;
    let body = json!({"text": said(send.text)?, "key": key(send.key)});
    let segments = ["v1", "channels", &send.channel, "messages"];
    let answer = twice(home, &client, &Method::POST, &segments, &body).await?;
    out.show(&answer, |v| format!("said ({})", text(v, "event_id")))
}

pub(super) async fn reply(home: &Home, reply: Reply, out: Out) -> Result<(), Failure> {
    let client = Client::of(home)?;
    let body = json!({
        "text": said(reply.text)?,
        "key": key(reply.key),
        "reply_to": reply.event,
    });
    let segments = ["v1", "channels", &reply.channel, "messages"];
    let answer = twice(home, &client, &Method::POST, &segments, &body).await?;
    out.show(&answer, |v| format!("said ({})", text(v, "event_id")))
}

pub(super) async fn edit(home: &Home, edit: Edit, out: Out) -> Result<(), Failure> {
    let client = Client::of(home)?;
    let body = json!({"text": said(edit.text)?, "key": key(edit.key)});
    let segments = ["v1", "channels", &edit.channel, "messages", &edit.event];
    let answer = twice(home, &client, &Method::PATCH, &segments, &body).await?;
    out.show(&answer, |v| format!("changed ({})", text(v, "target")))
}

/// What was typed, or comes from standard input.
fn said(text: String) -> Result<String, Failure> {
    let said = if text == "-" { from_stdin()? } else { text };
    check(said.len())?;
    Ok(said)
}

/// A key of our own lets us ask again when the connection breaks before the answer came.
fn key(given: Option<String>) -> String {
    given.unwrap_or_else(|| format!("cli-{:032x}", rand::random::<u128>()))
}

/// Asks, and asks once more if the node went away: it may have been restarted meanwhile.
async fn twice(
    home: &Home,
    client: &Client,
    method: &Method,
    segments: &[&str],
    body: &Value,
) -> Result<Value, Failure> {
    let first = client.with_json(method.clone(), segments, body)?;
    match client.try_json(first).await {
        Err(Lost::Connection(_)) => {
            let client = Client::of(home)?;
            let again = client.with_json(method.clone(), segments, body)?;
            client.json(again).await
        }
        other => Ok(other?),
    }
}

fn check(len: usize) -> Result<(), Failure> {
    if len == 0 || len > TEXT_CAP {
        return Err(Failure::new(
            "bad_text",
            format!("a message has 1 to 65,536 bytes, this one has {len}"),
        ));
    }
    Ok(())
}

fn from_stdin() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        // One for the line break that is taken off, one to see that it is too long.
        .take(TEXT_CAP as u64 + 2)
        .read_to_end(&mut bytes)
        .map_err(|e| Failure::new("io", format!("cannot read standard input: {e}")))?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.len() > TEXT_CAP {
        return Err(Failure::new(
            "bad_text",
            "a message has 1 to 65,536 bytes, and standard input has more",
        ));
    }
    String::from_utf8(bytes)
        .map_err(|_| Failure::new("bad_text", "standard input is not UTF-8 text"))
}
