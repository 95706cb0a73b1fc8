//! The state of the node as text.

use std::fmt::Write as _;

use crate::{
    cli::{channel, dht, format::duration, source},
    shapes::{Diagnosis, Health, ProxyState, Router, Status},
    term::inert,
};

/// The state of the node.
pub(super) fn status(s: &Status) -> String {
    let mut out = format!(
        "{} is {}\nport {}, {} connections, up for {}\n",
        inert(&s.name),
        s.id,
        s.port,
        s.connections,
        duration(s.uptime_s),
    );
    if let Some(proxy) = &s.proxy {
        let _ = writeln!(out, "{}", proxy_line(proxy));
    }
    if s.hidden {
        let _ = writeln!(out, "hidden: members are reached only through relays");
    }
    let _ = writeln!(out, "{}", dht::summary(&s.dht));
    let _ = writeln!(out, "looks like {} to trackers", s.disguise);
    let _ = writeln!(out, "{}", router_line(&s.router));
    for seen in &s.observed {
        let _ = writeln!(out, "seen as {} by {} peers", seen.addr, seen.by);
    }
    for trouble in &s.troubles {
        let _ = writeln!(out, "trouble: {}", inert(trouble));
    }
    if s.channels.is_empty() {
        return out + &channel::list(&[]);
    }
    let lines: Vec<String> = s
        .channels
        .iter()
        .flat_map(|c| {
            [channel::line(&c.channel)]
                .into_iter()
                .chain(source::lines(&c.sources, "  "))
        })
        .collect();
    out + &lines.join("\n")
}

/// A paragraph per finding: `ipv4     works    UDP works, ...`, and what to do on the line below.
pub(super) fn doctor(d: &Diagnosis) -> String {
    let mut out = String::new();
    for found in &d.findings {
        let health = match found.health {
            Health::Works => "works",
            Health::Limited => "limited",
            Health::Fails => "fails",
            Health::Unknown => "unknown",
            Health::Off => "off",
        };
        let what = inert(&found.what);
        let _ = writeln!(out, "{:<8} {health:<8} {what}", found.about);
        if !found.advice.is_empty() {
            let _ = writeln!(out, "{:18}-> {}", "", inert(&found.advice));
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// `router forwards 198.51.100.11:7001 to this node (PCP, UDP and TCP), for 58 min unless renewed`
fn router_line(router: &Router) -> String {
    let minutes = |seconds: Option<u64>| seconds.map(|s| format!("{} min", s.div_ceil(60)));
    match router.state.as_str() {
        "mapped" => {
            let both = if router.tcp {
                "UDP and TCP"
            } else {
                "UDP only"
            };
            let until = minutes(router.ends_s).map(|left| format!(", for {left} unless renewed"));
            format!(
                "router forwards {} to this node ({}, {both}){}",
                inert(router.addr.as_deref().unwrap_or_default()),
                inert(router.protocol.as_deref().unwrap_or_default()),
                until.unwrap_or_default()
            )
        }
        "failed" => format!(
            "router has not mapped the port: {}; next try in {}",
            inert(&router.about),
            minutes(router.next_try_s).unwrap_or_default()
        ),
        "off" => format!("router is not asked: {}", inert(&router.about)),
        _ => "router is being asked to forward the port".to_owned(),
    }
}

/// `proxy http://p:3128: works; all traffic goes through it`
fn proxy_line(p: &ProxyState) -> String {
    let state = match &p.trouble {
        Some(trouble) => format!("{} (nothing is sent until it works)", inert(trouble)),
        None => "works; all traffic goes through it".to_owned(),
    };
    format!("proxy {}: {state}", inert(&p.url))
}
