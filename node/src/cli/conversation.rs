//! `delete`, `react`, `search`, `typing`, `read` and `profile`.

use std::io::Read;

use bitchat_wire::event::MAX_PICTURE;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    args::{OfEvent, ProfileCommand, React, Search},
    out::{Out, line, text},
    render,
};
use crate::{client::Client, error::Failure, home::Home, term::inert};

pub(super) async fn delete(home: &Home, of: &OfEvent, out: Out) -> Result<(), Failure> {
    let client = Client::of(home)?;
    let segments = ["v1", "channels", &of.channel, "messages", &of.event];
    let answer = client
        .json(client.request(Method::DELETE, &segments)?)
        .await?;
    out.show(&answer, |v| format!("taken back ({})", text(v, "target")))
}

pub(super) async fn react(home: &Home, react: &React, out: Out) -> Result<(), Failure> {
    let client = Client::of(home)?;
    let segments = [
        "v1",
        "channels",
        &react.channel,
        "messages",
        &react.event,
        "reactions",
    ];
    let body = json!({"emoji": react.emoji, "remove": react.remove});
    let answer = client.json(client.post(&segments, &body)?).await?;
    out.show(&answer, |v| {
        if v["event_id"].is_null() {
            "it was so already".to_owned()
        } else {
            format!("done ({})", text(v, "target"))
        }
    })
}

pub(super) async fn search(home: &Home, search: Search, out: Out) -> Result<(), Failure> {
    let client = Client::of(home)?;
    let (channel, words) = match &search.words[..] {
        [channel, words] => (Some(channel), words),
        [words] => (None, words),
        _ => return Err(Failure::new("usage", "bitchat search [CH] QUERY")),
    };
    let mut query = vec![("q", words.clone())];
    query.extend(channel.map(|channel| ("channel", channel.clone())));
    query.extend(search.limit.map(|limit| ("limit", limit.to_string())));
    query.extend(search.before.map(|before| ("before", before)));
    let answer = client.json(client.get(&["v1", "search"], &query)?).await?;
    let found = answer["messages"].as_array().map_or(&[][..], Vec::as_slice);
    if out.json {
        return out.show_each(found, |_| String::new());
    }
    if found.is_empty() {
        return line("nothing was found");
    }
    let mut lines = render::Lines::with_ids();
    found
        .iter()
        .try_for_each(|message| line(&lines.render(message)))
}

pub(super) async fn typing(home: &Home, channel: &str, out: Out) -> Result<(), Failure> {
    let client = Client::of(home)?;
    let request = client.post(&["v1", "channels", channel, "typing"], &json!({}))?;
    out.show(&client.json(request).await?, |_| "told".to_owned())
}

pub(super) async fn read(home: &Home, of: &OfEvent, out: Out) -> Result<(), Failure> {
    let client = Client::of(home)?;
    let request = client.post(
        &["v1", "channels", &of.channel, "read"],
        &json!({"event": of.event}),
    )?;
    out.show(&client.json(request).await?, |v| {
        if v["told"] == true {
            "told".to_owned()
        } else {
            "nobody was told: the setting `read_marks` is off, or they know already".to_owned()
        }
    })
}

pub(super) async fn profile(home: &Home, command: ProfileCommand, out: Out) -> Result<(), Failure> {
    let client = Client::of(home)?;
    let (own, drawn) = (["v1", "profile"], ["v1", "profile", "picture"]);
    let request = match command {
        ProfileCommand::Show => client.request(Method::GET, &own)?,
        ProfileCommand::Status { line } => {
            client.with_json(Method::PUT, &own, &json!({"status": line}))?
        }
        ProfileCommand::Picture { file: None, .. } => client.request(Method::DELETE, &drawn)?,
        ProfileCommand::Picture {
            file: Some(file), ..
        } => {
            let mut bytes = Vec::new();
            std::fs::File::open(&file)
                // One more shows that it is too large.
                .and_then(|file| file.take(MAX_PICTURE as u64 + 1).read_to_end(&mut bytes))
                .map_err(|e| Failure::io("read", &file, &e))?;
            client.request(Method::PUT, &drawn)?.body(bytes)
        }
    };
    out.show(&client.json(request).await?, shown)
}

fn shown(v: &Value) -> String {
    let status = match text(v, "status") {
        "" => "none".to_owned(),
        line => inert(line),
    };
    format!(
        "{} is {}\nstatus   {status}\npicture  {}",
        inert(text(v, "name")),
        text(v, "id"),
        v["picture"].as_str().unwrap_or("none")
    )
}
