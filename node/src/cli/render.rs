//! Results as people read them. Whatever others wrote is made inert first.

use std::{collections::HashMap, fmt::Write as _};

use serde_json::Value;

use super::out::text;
use crate::term::{inert, inert_lines};

/// So much of an id tells it from others, for a person.
const SHORT: usize = 12;
/// So much of an event's id tells it from others; at least 6 digits are asked for.
const SHORT_EVENT: usize = 8;
/// Characters of a text that stand before an answer to it.
const QUOTE: usize = 32;
/// Texts that are remembered for that.
const QUOTES: usize = 10_000;

/// Lines of a log. A line of its own says when the day changes.
#[derive(Default)]
pub(super) struct Lines {
    day: String,
    ids: bool,
    /// Who said what, of texts shown lately: for the answers to them.
    said: HashMap<String, String>,
}

impl Lines {
    /// Each line begins with so much of the event's id as names it.
    pub(super) fn with_ids() -> Self {
        Self {
            ids: true,
            ..Self::default()
        }
    }

    /// `12:01 alice: text`
    pub(super) fn render(&mut self, message: &Value) -> String {
        let time = text(message, "time");
        let (day, clock) = (time.get(..10).unwrap_or(""), time.get(11..16).unwrap_or(""));
        let mut out = String::new();
        if day != self.day {
            // Writing into a String cannot fail.
            let _ = writeln!(out, "-- {day} (UTC) --");
            day.clone_into(&mut self.day);
        }
        let name = who(message, "author");
        let said = text(message, "text");
        if self.ids {
            let id = text(message, "event_id");
            let _ = write!(out, "{} ", id.get(..SHORT_EVENT).unwrap_or(id));
        }
        let _ = match text(message, "kind") {
            "text" => {
                let id = text(message, "event_id").to_owned();
                let shown = self.text(message, &name);
                if self.said.len() >= QUOTES {
                    self.said.clear();
                }
                self.said.insert(id, format!("{name}: {}", quote(said)));
                write!(out, "{clock} {shown}")
            }
            "edit" => write!(out, "{clock} * {name} changed {}", about(message)),
            "delete" => write!(out, "{clock} * {name} took {} back", about(message)),
            "react" if said.is_empty() => {
                write!(
                    out,
                    "{clock} * {name} took the reactions to {} back",
                    about(message)
                )
            }
            "react" => write!(
                out,
                "{clock} * {name} reacted to {} with {}",
                about(message),
                inert(said)
            ),
            "read" => write!(out, "{clock} * {name} has read on"),
            "picture" => write!(out, "{clock} * {name} has another picture"),
            "status" => write!(out, "{clock} * {name} says: {}", inert(said)),
            "joined" => write!(out, "{clock} * {name} joined"),
            "profile" => write!(out, "{clock} * {name} is called {}", inert(said)),
            "left" => write!(out, "{clock} * {name} left"),
            _ => write!(
                out,
                "{clock} * {name} did something that this version does not know"
            ),
        };
        out
    }

    /// `alice: text`, with what it answers above and the reactions below.
    fn text(&self, message: &Value, name: &str) -> String {
        let mut out = format!("{name}: ");
        if message["deleted"] == true {
            out.push_str("(taken back)");
            return out;
        }
        if let Some(answers) = message["reply_to"].as_str() {
            let known = self.said.get(answers).map(String::as_str);
            let short = answers.get(..SHORT_EVENT).unwrap_or(answers);
            let _ = write!(out, "[re {}] ", known.unwrap_or(short));
        }
        out.push_str(&inert_lines(text(message, "text"), "      "));
        if message["edited"] == true {
            out.push_str("  (edited)");
        }
        out.push_str(&mark(message));
        let reactions = message["reactions"].as_array().into_iter().flatten();
        for (n, reaction) in reactions.enumerate() {
            let lead = if n == 0 { "\n      " } else { "  " };
            let _ = write!(
                out,
                "{lead}{} {}",
                inert(text(reaction, "emoji")),
                reaction["count"]
            );
        }
        out
    }
}

/// The beginning of a text, on one line.
fn quote(said: &str) -> String {
    let mut chars = said.lines().next().unwrap_or_default().chars();
    let begin: String = chars.by_ref().take(QUOTE).collect();
    let more = if chars.next().is_some() || said.contains('\n') {
        "..."
    } else {
        ""
    };
    inert(&begin) + more
}

/// What an event is about, in short.
fn about(message: &Value) -> &str {
    let target = text(message, "target");
    target.get(..SHORT_EVENT).unwrap_or(target)
}

/// How far a line has come, if there is anybody to come to.
fn mark(message: &Value) -> String {
    let state = &message["state"];
    let of = state["of"].as_u64().unwrap_or(0);
    match state["progress"].as_str() {
        _ if of == 0 => String::new(),
        Some("delivered") if state["read"].as_u64().unwrap_or(0) > 0 => {
            format!(
                "  [{} of {of}, read by {}]",
                state["delivered"], state["read"]
            )
        }
        Some("delivered") => format!("  [{} of {of}]", state["delivered"]),
        Some(progress) => format!("  [{progress}]"),
        None => String::new(),
    }
}

/// A person's name, or the beginning of the id where there is none.
fn who(value: &Value, id: &str) -> String {
    match text(value, "name") {
        "" => short(text(value, id)).to_owned(),
        name => inert(name),
    }
}

fn short(id: &str) -> &str {
    id.get(..SHORT).unwrap_or(id)
}

pub(super) fn status(s: &Value) -> String {
    let mut out = format!(
        "{} is {}\nport {}, {} connections, up for {}\n",
        inert(text(s, "name")),
        text(s, "id"),
        s["port"],
        s["connections"],
        duration(s["uptime_s"].as_u64().unwrap_or(0)),
    );
    if s["proxy"].is_object() {
        let _ = writeln!(out, "{}", proxy_line(&s["proxy"]));
    }
    if s["hidden"] == true {
        let _ = writeln!(out, "hidden: members are talked with through relays alone");
    }
    let _ = writeln!(out, "{}", dht_line(&s["dht"]));
    let _ = writeln!(out, "looks like {} to trackers", text(s, "disguise"));
    let _ = writeln!(out, "{}", router_line(&s["router"]));
    for seen in s["observed"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "seen as {} by {}", text(seen, "addr"), seen["by"]);
    }
    for trouble in s["troubles"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "trouble: {}", inert(trouble.as_str().unwrap_or("")));
    }
    let list = s["channels"].as_array().map_or(&[][..], Vec::as_slice);
    if list.is_empty() {
        return out + &channels(list);
    }
    let lines: Vec<String> = list
        .iter()
        .flat_map(|c| [channel(c)].into_iter().chain(sources(c, "  ")))
        .collect();
    out + &lines.join("\n")
}

/// How each source of a channel does, a line each; those that are off and say nothing more share one.
fn sources(c: &Value, indent: &str) -> Vec<String> {
    let (mut lines, mut off) = (Vec::new(), Vec::new());
    for s in c["sources"].as_array().into_iter().flatten() {
        let name = match text(s, "source") {
            "cache" => "remembered members".to_owned(),
            "tracker" => format!("tracker {}", inert(text(s, "url"))),
            "dht_ipv4" => "DHT (IPv4)".to_owned(),
            "dht_ipv6" => "DHT (IPv6)".to_owned(),
            "lan" => "local network".to_owned(),
            "relay" => "relays".to_owned(),
            "hand" => "addresses by hand".to_owned(),
            "pex" => "linked members".to_owned(),
            other => inert(other),
        };
        if s["state"] == "off" && text(s, "about").is_empty() {
            off.push(name);
            continue;
        }
        let mut line = format!("{indent}{name}: {}", text(s, "state"));
        if s["linked"].as_u64().unwrap_or(0) > 0 {
            let _ = write!(line, ", led to {} links", s["linked"]);
        }
        if let Some(last) = s["last_success_s"].as_u64() {
            let _ = write!(line, ", last {} ago", duration(last));
        }
        if let Some(next) = s["next_try_s"].as_u64() {
            let _ = write!(line, ", again in {}", duration(next));
        }
        let about = text(s, "about");
        if !about.is_empty() {
            let _ = write!(line, " ({})", inert(about));
        }
        lines.push(line);
    }
    if !off.is_empty() {
        lines.push(format!("{indent}off: {}", off.join(", ")));
    }
    lines
}

/// One paragraph a finding: `ipv4     works    UDP works, ...`, and what to do under it.
pub(super) fn doctor(d: &Value) -> String {
    let mut out = String::new();
    for found in d["findings"].as_array().into_iter().flatten() {
        let (about, health) = (text(found, "about"), text(found, "health"));
        let what = inert(text(found, "what"));
        let _ = writeln!(out, "{about:<8} {health:<8} {what}");
        if let Some(advice) = found["advice"].as_str().filter(|advice| !advice.is_empty()) {
            let _ = writeln!(out, "{:18}-> {}", "", inert(advice));
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// `router lets others in at 198.51.100.11:7001 (PCP, UDP and TCP), for 58 min unless renewed`
fn router_line(router: &Value) -> String {
    let minutes = |key| {
        router[key]
            .as_u64()
            .map(|seconds| format!("{} min", seconds.div_ceil(60)))
    };
    match router["state"].as_str() {
        Some("mapped") => {
            let both = if router["tcp"] == true {
                "UDP and TCP"
            } else {
                "UDP alone"
            };
            let until = minutes("ends_s").map(|left| format!(", for {left} unless renewed"));
            format!(
                "router lets others in at {} ({}, {both}){}",
                inert(text(router, "addr")),
                inert(text(router, "protocol")),
                until.unwrap_or_default()
            )
        }
        Some("failed") => format!(
            "router maps nothing: {}; asked again in {}",
            inert(text(router, "about")),
            minutes("next_try_s").unwrap_or_default()
        ),
        Some("off") => format!("router is not asked: {}", inert(text(router, "about"))),
        _ => "router is being asked".to_owned(),
    }
}

/// `proxy http://p:3128: works`
fn proxy_line(p: &Value) -> String {
    let does = match p["trouble"].as_str() {
        Some(trouble) => format!("{} (nothing leaves until it works)", inert(trouble)),
        None => "works; everything goes through it".to_owned(),
    };
    format!("proxy {}: {does}", inert(text(p, "url")))
}

/// `DHT working, 120 nodes, last answer 3 s ago`
fn dht_line(d: &Value) -> String {
    let mut out = format!("DHT {}", text(d, "state"));
    if d["state"] != "off" {
        let _ = write!(out, ", {} nodes", d["nodes"]);
    }
    if let Some(last) = d["last_success_s"].as_u64() {
        let _ = write!(out, ", last answer {} ago", duration(last));
    }
    if let Some(next) = d["next_try_s"].as_u64() {
        let _ = write!(out, ", again in {}", duration(next));
    }
    out
}

/// The same for one channel.
fn dht_channel(d: &Value) -> String {
    let mut out = text(d, "state").to_owned();
    if d["state"] == "off" {
        return out;
    }
    let _ = write!(
        out,
        ", {} peers, announced to {} nodes",
        d["peers"], d["announced_to"]
    );
    if let Some(last) = d["last_success_s"].as_u64() {
        let _ = write!(out, ", last answer {} ago", duration(last));
    }
    if let Some(next) = d["next_try_s"].as_u64() {
        let _ = write!(out, ", again in {}", duration(next));
    }
    out
}

pub(super) fn dht(d: &Value) -> String {
    let mut out = dht_line(d);
    for family in d["families"].as_array().into_iter().flatten() {
        let valid = match family["id_valid"].as_bool() {
            Some(true) => "bound to our address",
            Some(false) => "not bound to our address",
            None => "our address is not known yet",
        };
        let _ = write!(
            out,
            "\n{}        {} nodes, {} of them good, {} with bound ids\n  id        {} ({valid})\n  seen at   {}",
            text(family, "family"),
            family["nodes"],
            family["good"],
            family["valid"],
            text(family, "id"),
            family["external"].as_str().unwrap_or("(nobody says)"),
        );
    }
    let t = &d["traffic"];
    let _ = write!(
        out,
        "\ntraffic     {} packets in ({} KiB, {} dropped), {} out ({} KiB)\nkept        {} peers of {} hashes for others",
        t["packets_in"],
        t["bytes_in"].as_u64().unwrap_or(0) / 1_024,
        t["dropped"],
        t["packets_out"],
        t["bytes_out"].as_u64().unwrap_or(0) / 1_024,
        d["stored_peers"],
        d["stored_hashes"],
    );
    for watch in d["watched"].as_array().into_iter().flatten() {
        let _ = write!(
            out,
            "\nwatched     {}  {}",
            text(watch, "hash"),
            dht_channel(watch)
        );
    }
    out
}

pub(super) fn dht_found(found: &Value) -> String {
    let peers = found["peers"].as_array().map_or(&[][..], Vec::as_slice);
    let mut out: String = peers
        .iter()
        .filter_map(Value::as_str)
        .map(|peer| format!("{peer}\n"))
        .collect();
    let _ = write!(
        out,
        "{} peers; {} of {} nodes answered",
        peers.len(),
        found["answered"],
        found["asked"]
    );
    out
}

pub(super) fn channels(list: &[Value]) -> String {
    if list.is_empty() {
        return "no channels yet: `bitchat channel create NAME --out FILE`, or `bitchat channel join FILE`"
            .to_owned();
    }
    let lines: Vec<String> = list.iter().map(channel).collect();
    lines.join("\n")
}

fn channel(c: &Value) -> String {
    format!(
        "{:<20} {}  {} of {} online, mesh {}",
        inert(text(c, "name")),
        short(text(c, "id")),
        c["online"],
        c["members"],
        text(c, "mesh")
    )
}

pub(super) fn info(c: &Value) -> String {
    let mut out = format!(
        "{}\nid          {}\ninfohash    {}\n",
        channel(c),
        text(c, "id"),
        text(c, "infohash")
    );
    let hashes: Vec<&str> = c["rendezvous"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let fixed = if c["rotates"] == false {
        ", for good"
    } else {
        ""
    };
    let _ = writeln!(
        out,
        "rendezvous  {}{fixed}\nowner       {}\ncreated     {}\npolicy      {}",
        hashes.join(", then "),
        text(c, "owner"),
        text(c, "created"),
        text(c, "policy")
    );
    let _ = write!(
        out,
        "addresses   {} to try, {} being tried",
        c["candidates"], c["dialling"]
    );
    out.push_str("\nlooked for by");
    for line in sources(c, "  ") {
        out.push('\n');
        out.push_str(&line);
    }
    if let Some(trouble) = c["trouble"].as_str() {
        let _ = write!(out, "\ntrouble     {}", inert(trouble));
    }
    out
}

pub(super) fn members(list: &[Value]) -> String {
    let lines: Vec<String> = list.iter().map(member).collect();
    lines.join("\n")
}

fn member(m: &Value) -> String {
    let mut out = format!("{:<20} {}  ", who(m, "id"), text(m, "id"));
    let path = &m["path"];
    if m["me"] == true {
        out.push_str("you");
    } else if path.is_object() {
        let _ = write!(
            out,
            "online by {} at {}, {} ms",
            text(path, "kind"),
            text(path, "addr"),
            path["rtt_ms"]
        );
        if let Some(via) = path["via"].as_str() {
            let _ = write!(out, ", via {}", inert(via));
        }
        match (path["source"].as_str(), path["took_ms"].as_f64()) {
            (Some(source), Some(took)) => {
                let _ = write!(
                    out,
                    ", found by {} in {:.1} s",
                    inert(source),
                    took / 1_000.0
                );
            }
            _ => out.push_str(", came to us"),
        }
    } else if m["online"] == true {
        out.push_str("online");
    } else {
        out.push_str("offline");
    }
    if m["typing"] == true {
        out.push_str("  is writing");
    }
    if let Some(line) = m["status"].as_str().filter(|line| !line.is_empty()) {
        let _ = write!(out, "  \"{}\"", inert(line));
    }
    if m["forked"] == true {
        out.push_str("  WARNING: a device signed two different events with one number");
    }
    out
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hostile_text_stays_in_its_line() {
        let mut lines = Lines::default();
        let message = |name: &str, text: &str| {
            json!({"time": "2026-01-31T12:01:00.000Z", "kind": "text", "name": name, "author": "bitchat1qqqqqqqqqq",
                "text": text, "state": {"progress": "delivered", "delivered": 1, "of": 1}})
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
    fn a_text_is_shown_as_it_is_now() {
        let mut lines = Lines::with_ids();
        let message = |id: &str, text: &str, more: Value| {
            let mut message = json!({"event_id": id.repeat(8), "time": "2026-01-31T12:01:00.000Z",
                "kind": "text", "name": "ann", "author": "bitchat1qqqqqqqqqq", "text": text, "state": {"of": 0}});
            for (key, value) in more.as_object().into_iter().flatten() {
                message[key] = value.clone();
            }
            message
        };
        assert_eq!(
            lines.render(&message("aaaaaaaa", "one\ntwo", json!({"edited": true}))),
            "-- 2026-01-31 (UTC) --\naaaaaaaa 12:01 ann: one\n      two  (edited)"
        );
        let reply = json!({"reply_to": "aaaaaaaa".repeat(8),
            "reactions": [{"emoji": "+", "count": 2}, {"emoji": "\u{202e}", "count": 1}]});
        assert_eq!(
            lines.render(&message("bbbbbbbb", "yes", reply)),
            "bbbbbbbb 12:01 ann: [re ann: one...] yes\n      + 2  \\u{202e} 1"
        );
        assert_eq!(
            lines.render(&message("cccccccc", "", json!({"deleted": true}))),
            "cccccccc 12:01 ann: (taken back)"
        );
        let unknown = json!({"reply_to": "dddddddd".repeat(8)});
        assert_eq!(
            lines.render(&message("eeeeeeee", "x", unknown)),
            "eeeeeeee 12:01 ann: [re dddddddd] x"
        );
    }
}
