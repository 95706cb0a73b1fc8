//! The DHT as text.

use std::fmt::Write as _;

use crate::{
    cli::format::duration,
    shapes::{Dht, DhtChannel, DhtFound, DhtSummary},
};

/// `DHT working, 120 nodes, last answer 3 s ago`
pub(in crate::cli) fn summary(d: &DhtSummary) -> String {
    let mut out = format!("DHT {}", d.state);
    if d.state != "off" {
        let _ = write!(out, ", {} nodes", d.nodes);
    }
    times(&mut out, d.last_success_s, d.next_try_s);
    out
}

/// The same for one infohash.
fn watched(d: &DhtChannel) -> String {
    let mut out = d.state.clone();
    if d.state == "off" {
        return out;
    }
    let _ = write!(
        out,
        ", {} peers, announced to {} nodes",
        d.peers, d.announced_to
    );
    times(&mut out, d.last_success_s, d.next_try_s);
    out
}

fn times(out: &mut String, last_success_s: Option<u64>, next_try_s: Option<u64>) {
    if let Some(last) = last_success_s {
        let _ = write!(out, ", last answer {} ago", duration(last));
    }
    if let Some(next) = next_try_s {
        let _ = write!(out, ", next try in {}", duration(next));
    }
}

/// This node's part of the DHT in detail.
pub(super) fn state(d: &Dht) -> String {
    let mut out = summary(&d.summary);
    for family in &d.families {
        let valid = match family.id_valid {
            Some(true) => "bound to our address",
            Some(false) => "not bound to our address",
            None => "our address is not known yet",
        };
        let _ = write!(
            out,
            "\n{}        {} nodes, {} of them good, {} with bound ids\n  id        {} ({valid})\n  seen at   {}",
            family.family,
            family.nodes,
            family.good,
            family.valid,
            family.id,
            family.external.as_deref().unwrap_or("(not known yet)"),
        );
    }
    let t = &d.traffic;
    let _ = write!(
        out,
        "\ntraffic     {} packets in ({} KiB, {} dropped), {} out ({} KiB)\nstored      {} peers under {} hashes, for others",
        t.packets_in,
        t.bytes_in / 1_024,
        t.dropped,
        t.packets_out,
        t.bytes_out / 1_024,
        d.stored_peers,
        d.stored_hashes,
    );
    for watch in &d.watched {
        let _ = write!(
            out,
            "\nwatched     {}  {}",
            watch.hash,
            watched(&watch.source)
        );
    }
    out
}

/// The result of a lookup: a peer a line, then what it took.
pub(super) fn found(found: &DhtFound) -> String {
    let mut out: String = found.peers.iter().map(|peer| format!("{peer}\n")).collect();
    let _ = write!(
        out,
        "{} peers; {} of {} nodes answered",
        found.peers.len(),
        found.answered,
        found.asked
    );
    out
}
