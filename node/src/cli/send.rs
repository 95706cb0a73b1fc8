//! `send`: says a line once, whatever happens to the connection.

use std::io::Read;

use serde_json::json;

use super::{
    args::Send,
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
    let said = if send.text == "-" {
        from_stdin()?
    } else {
        send.text
    };
    check(said.len())?;
    // A key of our own lets us ask again when the connection breaks before the answer came.
    let key = send
        .key
        .unwrap_or_else(|| format!("cli-{:032x}", rand::random::<u128>()));
    let body = json!({"text": said, "key": key});
    let segments = ["v1", "channels", &send.channel, "messages"];
    let first = client.try_json(client.post(&segments, &body)?).await;
    let answer = match first {
        Err(Lost::Connection(_)) => {
            // The node may have been restarted meanwhile: look for it anew.
            let client = Client::of(home)?;
            client.json(client.post(&segments, &body)?).await?
        }
        other => other?,
    };
    out.show(&answer, |v| format!("said ({})", text(v, "event_id")))
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
