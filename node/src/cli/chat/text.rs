//! Messages as text. Everything that others wrote is made inert first.

use std::{collections::HashMap, fmt::Write as _};

use crate::{
    cli::format::who,
    shapes::{Message, MessageKind, State},
    term::{inert, inert_lines},
};

/// Digits of an event's id that tell it from others; commands take 6 or more.
const SHORT_EVENT: usize = 8;
/// Characters of a text that are quoted before a reply to it.
const QUOTE: usize = 32;
/// Texts that are remembered for quotes.
const QUOTES: usize = 10_000;

/// Lines of a log. A line of its own announces each new day.
#[derive(Default)]
pub(super) struct Lines {
    day: String,
    ids: bool,
    /// Author and beginning of the texts shown lately, by event id: quoted before replies to them.
    quotes: HashMap<String, String>,
}

impl Lines {
    /// Lines that begin with the first digits of the event's id.
    pub(super) fn with_ids() -> Self {
        Self {
            ids: true,
            ..Self::default()
        }
    }

    /// `12:01 alice: text`
    pub(super) fn render(&mut self, message: &Message) -> String {
        let time = &message.time;
        let (day, clock) = (time.get(..10).unwrap_or(""), time.get(11..16).unwrap_or(""));
        let mut out = String::new();
        if day != self.day {
            // Writing into a String cannot fail.
            let _ = writeln!(out, "-- {day} (UTC) --");
            day.clone_into(&mut self.day);
        }
        let name = who(&message.name, &message.author);
        let text = &message.text;
        if self.ids {
            let _ = write!(out, "{} ", short(&message.event_id));
        }
        let target = short(message.target.as_deref().unwrap_or_default());
        let _ = match message.kind {
            MessageKind::Text => {
                let shown = self.text(message, &name);
                if self.quotes.len() >= QUOTES {
                    self.quotes.clear();
                }
                self.quotes
                    .insert(message.event_id.clone(), format!("{name}: {}", quote(text)));
                write!(out, "{clock} {shown}")
            }
            MessageKind::Edit => write!(out, "{clock} * {name} edited {target}"),
            MessageKind::Delete => write!(out, "{clock} * {name} deleted {target}"),
            MessageKind::React if text.is_empty() => {
                write!(out, "{clock} * {name} removed the reactions to {target}")
            }
            MessageKind::React => {
                write!(
                    out,
                    "{clock} * {name} reacted to {target} with {}",
                    inert(text)
                )
            }
            MessageKind::Read => write!(out, "{clock} * {name} has read up to here"),
            MessageKind::Picture => write!(out, "{clock} * {name} has a new picture"),
            MessageKind::Status => write!(out, "{clock} * {name} set the status: {}", inert(text)),
            MessageKind::Joined => write!(out, "{clock} * {name} joined"),
            MessageKind::Profile => write!(out, "{clock} * {name} is called {}", inert(text)),
            MessageKind::Left => write!(out, "{clock} * {name} left"),
            MessageKind::Unknown => write!(
                out,
                "{clock} * {name} sent something that this version does not understand"
            ),
        };
        out
    }

    /// `alice: text`, with a quote before a reply, and the reactions on a line below.
    fn text(&self, message: &Message, name: &str) -> String {
        let mut out = format!("{name}: ");
        if message.deleted {
            out.push_str("(deleted)");
            return out;
        }
        if let Some(replied) = &message.reply_to {
            let known = self.quotes.get(replied).map(String::as_str);
            let _ = write!(out, "[re {}] ", known.unwrap_or(short(replied)));
        }
        out.push_str(&inert_lines(&message.text, "      "));
        if message.edited {
            out.push_str("  (edited)");
        }
        out.push_str(&progress(&message.state));
        for (n, reaction) in message.reactions.iter().enumerate() {
            let lead = if n == 0 { "\n      " } else { "  " };
            let _ = write!(out, "{lead}{} {}", inert(&reaction.emoji), reaction.count);
        }
        out
    }
}

fn short(id: &str) -> &str {
    id.get(..SHORT_EVENT).unwrap_or(id)
}

/// The beginning of a text, on one line.
fn quote(text: &str) -> String {
    let mut chars = text.lines().next().unwrap_or_default().chars();
    let begin: String = chars.by_ref().take(QUOTE).collect();
    let more = if chars.next().is_some() || text.contains('\n') {
        "..."
    } else {
        ""
    };
    inert(&begin) + more
}

/// Delivery progress; empty while there is no other member.
fn progress(state: &State) -> String {
    let State {
        progress,
        delivered,
        of,
        read,
    } = state;
    match progress.as_str() {
        _ if *of == 0 => String::new(),
        "delivered" if *read > 0 => format!("  [{delivered} of {of}, read by {read}]"),
        "delivered" => format!("  [{delivered} of {of}]"),
        progress => format!("  [{progress}]"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A text as the API answers it, with some fields set.
    fn message(set: Value) -> Message {
        let mut message = json!({"event_id": "", "channel": "", "author": "bitchat1qqqqqqqqqq", "name": "ann", "device": "",
            "seq": 1, "lamport": 1, "time": "2026-01-31T12:01:00.000Z", "kind": "text", "text": "", "reply_to": null,
            "edited": false, "deleted": false, "reactions": [], "mentions": [], "target": null, "position": 1,
            "state": {"progress": "waiting", "delivered": 0, "of": 0, "read": 0}});
        for (key, value) in set.as_object().into_iter().flatten() {
            message[key] = value.clone();
        }
        serde_json::from_value(message).unwrap()
    }

    #[test]
    fn hostile_text_stays_in_its_line() {
        let mut lines = Lines::default();
        let message = |name: &str, text: &str| {
            message(json!({"name": name, "text": text,
                "state": {"progress": "delivered", "delivered": 1, "of": 1, "read": 0}}))
        };
        assert_eq!(
            lines.render(&message("alice", "hi")),
            "-- 2026-01-31 (UTC) --\n12:01 alice: hi  [1 of 1]"
        );
        assert_eq!(
            lines.render(&message("al\u{1b}[31mice", "x\n12:02 bob: no")),
            "12:01 al\\u{1b}[31mice: x\n      12:02 bob: no  [1 of 1]"
        );
        let long = "\u{1b}]0;x\u{7}\u{202e}".repeat(8_000);
        let shown = lines.render(&message("bob", &long));
        assert!(!shown.contains(|c: char| c.is_control() || c == '\u{202e}'));
        assert_eq!(
            lines.render(&message("", "hi")),
            "12:01 bitchat1qqqq: hi  [1 of 1]"
        );
    }

    #[test]
    fn a_text_is_shown_in_its_current_form() {
        let mut lines = Lines::with_ids();
        let message = |id: &str, text: &str, more: Value| {
            let mut set = json!({"event_id": id.repeat(8), "text": text});
            for (key, value) in more.as_object().into_iter().flatten() {
                set[key] = value.clone();
            }
            message(set)
        };
        assert_eq!(
            lines.render(&message("aaaaaaaa", "one\ntwo", json!({"edited": true}))),
            "-- 2026-01-31 (UTC) --\naaaaaaaa 12:01 ann: one\n      two  (edited)"
        );
        let reply = json!({"reply_to": "aaaaaaaa".repeat(8), "reactions": [
            {"emoji": "+", "count": 2, "by": []}, {"emoji": "\u{202e}", "count": 1, "by": []}]});
        assert_eq!(
            lines.render(&message("bbbbbbbb", "yes", reply)),
            "bbbbbbbb 12:01 ann: [re ann: one...] yes\n      + 2  \\u{202e} 1"
        );
        assert_eq!(
            lines.render(&message("cccccccc", "", json!({"deleted": true}))),
            "cccccccc 12:01 ann: (deleted)"
        );
        let unknown = json!({"reply_to": "dddddddd".repeat(8)});
        assert_eq!(
            lines.render(&message("eeeeeeee", "x", unknown)),
            "eeeeeeee 12:01 ann: [re dddddddd] x"
        );
    }
}
