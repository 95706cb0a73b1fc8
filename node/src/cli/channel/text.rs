//! Channels as text.

use std::fmt::Write as _;

use crate::{
    cli::{format::short, source},
    shapes::{Channel, Info},
    term::inert,
};

/// The channels, a line each.
pub(in crate::cli) fn list(channels: &[Channel]) -> String {
    if channels.is_empty() {
        return "no channels yet: create one with `bitchat channel create NAME --out FILE`, or join one with `bitchat channel join FILE`"
            .to_owned();
    }
    let lines: Vec<String> = channels.iter().map(line).collect();
    lines.join("\n")
}

/// A channel on one line.
pub(in crate::cli) fn line(c: &Channel) -> String {
    format!(
        "{:<20} {}  {} of {} online, mesh {}",
        inert(&c.name),
        short(&c.id),
        c.online,
        c.members,
        c.mesh
    )
}

/// A channel in detail.
pub(super) fn info(c: &Info) -> String {
    let mut out = format!(
        "{}\nid          {}\ninfohash    {}\n",
        line(&c.channel),
        c.channel.id,
        c.infohash
    );
    let fixed = if c.rotates { "" } else { ", never changes" };
    let _ = writeln!(
        out,
        "rendezvous  {}{fixed}\nowner       {}\ncreated     {}\npolicy      {}",
        c.rendezvous.join(", then "),
        c.owner,
        c.created,
        c.channel.policy
    );
    let _ = write!(
        out,
        "addresses   {} to dial, {} being dialled",
        c.candidates, c.dialling
    );
    out.push_str("\nsources");
    for line in source::lines(&c.sources, "  ") {
        out.push('\n');
        out.push_str(&line);
    }
    if let Some(trouble) = &c.trouble {
        let _ = write!(out, "\ntrouble     {}", inert(trouble));
    }
    out
}
