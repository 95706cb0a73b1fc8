//! `log`: what was said, and with `--follow` what is being said.

use std::collections::HashSet;

use reqwest::Response;
use serde_json::Value;

use super::{
    args,
    out::{Out, line, text},
    render::Lines,
    sse::{Event, Parser},
};
use crate::{api::messages::MAX_PAGE, client::Client, error::Failure, home::Home};

/// As [`MAX_PAGE`], but so few that an answer is small when messages are long.
const PAGE: usize = 250;

pub(super) async fn run(home: &Home, log: args::Log, out: Out) -> Result<(), Failure> {
    let client = Client::of(home)?;
    let mut printer = Printer {
        out,
        lines: if log.ids {
            Lines::with_ids()
        } else {
            Lines::default()
        },
    };
    if !log.follow {
        for message in read(&client, &log).await? {
            printer.print(&message)?;
        }
        return Ok(());
    }
    // The stream first, then the log: what arrives in between is in both, and is known by its position.
    let mut stream = Stream::open(&client, &log.channel, None).await?;
    let mut last = stream.begin().await?;
    let mut printed = HashSet::new();
    for message in read(&client, &log).await? {
        let position = position(&message);
        if position > last {
            printed.insert(position);
        }
        printer.print(&message)?;
    }
    loop {
        let Some(event) = stream.next().await? else {
            // The stream broke off. It goes on where it was, if the node is still (or again) there.
            stream = Stream::open(&Client::of(home)?, &log.channel, Some(last)).await?;
            stream.begin().await?;
            continue;
        };
        if event.name != "message" {
            continue;
        }
        let message = event.data;
        last = last.max(position(&message));
        let kind = text(&message, "kind");
        if matches!(kind, "edit" | "delete" | "react") && !log.all {
            if let Some(changed) = changed(home, log.channel.as_str(), &message).await? {
                printer.print(&changed)?;
            }
            continue;
        }
        let wanted = log.all || kind == "text";
        if wanted && !printed.remove(&position(&message)) {
            printer.print(&message)?;
        }
    }
}

/// The text that an edit, a deletion or a reaction is about, as it is shown now; `None` if it means nothing.
async fn changed(home: &Home, channel: &str, about: &Value) -> Result<Option<Value>, Failure> {
    let client = Client::of(home)?;
    let segments = ["v1", "channels", channel, "messages", text(about, "target")];
    let shown = match client
        .json(client.request(reqwest::Method::GET, &segments)?)
        .await
    {
        Ok(shown) => shown,
        // It is not here, or not yet.
        Err(failure) if failure.code == "no_event" => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let counts = text(about, "kind") == "react" || shown["author"] == about["author"];
    Ok((counts && text(&shown, "kind") == "text").then_some(shown))
}

/// All that is wanted of the log, oldest first.
async fn read(client: &Client, log: &args::Log) -> Result<Vec<Value>, Failure> {
    let mut left = log.limit.unwrap_or(usize::MAX);
    let mut before = log.before.clone();
    // Newest page first.
    let mut pages: Vec<Vec<Value>> = Vec::new();
    while left > 0 {
        let size = left.min(PAGE).min(MAX_PAGE);
        let mut query = vec![("limit", size.to_string()), ("all", log.all.to_string())];
        if let Some(before) = &before {
            query.push(("before", before.clone()));
        }
        let request = client.get(&["v1", "channels", &log.channel, "messages"], &query)?;
        let mut answer = client.json(request).await?;
        let Value::Array(page) = answer["messages"].take() else {
            break;
        };
        left -= page.len().min(left);
        let full = page.len() >= size;
        before = page.first().map(|m| text(m, "event_id").to_owned());
        pages.push(page);
        if !full {
            break;
        }
    }
    Ok(pages.into_iter().rev().flatten().collect())
}

fn position(message: &Value) -> u64 {
    message["position"].as_u64().unwrap_or(0)
}

struct Printer {
    out: Out,
    lines: Lines,
}

impl Printer {
    fn print(&mut self, message: &Value) -> Result<(), Failure> {
        if self.out.json {
            line(&message.to_string())
        } else {
            line(&self.lines.render(message))
        }
    }
}

/// The node's event stream.
struct Stream {
    response: Response,
    parser: Parser,
    ready: std::collections::VecDeque<Event>,
}

impl Stream {
    async fn open(client: &Client, channel: &str, after: Option<u64>) -> Result<Self, Failure> {
        let mut query = vec![("channel", channel.to_owned())];
        if let Some(after) = after {
            query.push(("after", after.to_string()));
        }
        let request = client.get(&["v1", "events"], &query)?;
        Ok(Self {
            response: client.send(request).await?,
            parser: Parser::default(),
            ready: std::collections::VecDeque::new(),
        })
    }

    /// The position at which it begins.
    async fn begin(&mut self) -> Result<u64, Failure> {
        while let Some(event) = self.next().await? {
            if event.name == "position" {
                return Ok(position(&event.data));
            }
        }
        Err(Failure::new("no_node", "the node went away"))
    }

    /// The next event; `None` when the stream ends.
    async fn next(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            match self.response.chunk().await {
                Ok(Some(bytes)) => self.ready.extend(self.parser.feed(&bytes)?),
                Ok(None) | Err(_) => return Ok(None),
            }
        }
    }
}
