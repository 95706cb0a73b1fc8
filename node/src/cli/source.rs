//! The sources of a channel's peer addresses as text: `status` and `channel info` show them.

use std::fmt::Write as _;

use super::format::duration;
use crate::{shapes::Source, term::inert};

/// The sources of a channel, a line each; those that are off without details share one.
pub(super) fn lines(sources: &[Source], indent: &str) -> Vec<String> {
    let (mut lines, mut off) = (Vec::new(), Vec::new());
    for s in sources {
        let name = match s.source.as_str() {
            "cache" => "remembered members".to_owned(),
            "tracker" => format!("tracker {}", inert(s.url.as_deref().unwrap_or_default())),
            "dht_ipv4" => "DHT (IPv4)".to_owned(),
            "dht_ipv6" => "DHT (IPv6)".to_owned(),
            "lan" => "local network".to_owned(),
            "relay" => "relays".to_owned(),
            "hand" => "addresses entered by hand".to_owned(),
            "pex" => "linked members".to_owned(),
            other => inert(other),
        };
        if s.state == "off" && s.about.is_empty() {
            off.push(name);
            continue;
        }
        let mut line = format!("{indent}{name}: {}", s.state);
        if s.linked > 0 {
            let _ = write!(line, ", led to {} links", s.linked);
        }
        if let Some(last) = s.last_success_s {
            let _ = write!(line, ", last success {} ago", duration(last));
        }
        if let Some(next) = s.next_try_s {
            let _ = write!(line, ", next try in {}", duration(next));
        }
        if !s.about.is_empty() {
            let _ = write!(line, " ({})", inert(&s.about));
        }
        lines.push(line);
    }
    if !off.is_empty() {
        lines.push(format!("{indent}off: {}", off.join(", ")));
    }
    lines
}
