//! Benchmarks: each prints its figures as JSON objects, one per line, beside the floor of the machine where
//! there is one. Run them on a quiet machine, in release:
//!
//! `cargo run --release -p bitchat-tests --bin bench -- latency|mesh|burst|idle|sync|flood|relay|discovery`
#![allow(clippy::print_stdout)]

mod burst;
mod child;
mod discovery;
mod figure;
mod flood;
mod floor;
mod idle;
mod latency;
mod live;
mod mesh;
mod node;
mod program;
mod relay;
mod relay_costs;
mod sync;
mod watch;

use anyhow::{Result, bail};

/// The benchmarks that can be selected.
const NAMES: [&str; 8] = [
    "latency",
    "mesh",
    "burst",
    "idle",
    "sync",
    "flood",
    "relay",
    "discovery",
];

/// Arguments with which only this program calls itself.
const HIDDEN: &[&str] = &[child::MODE, mesh::CHILD, relay_costs::INSIDE];

const HELP: &str = "\
Usage: bench NAME...

  latency   a round trip through a link beside raw QUIC's; a message from one node's API to another's event stream
  mesh      50 nodes of one channel in one process: time (beside raw QUIC) and CPU to the full mesh; in a process
            of its own: memory, and a word that reaches all
  burst     three processes, 100,000 events, to the last commit everywhere
  sync      a newcomer gets 100,000 events from three members that go on talking
  idle      the real program with one channel and two links, left alone for two minutes
  flood     strangers send junk to a node or begin handshakes, while it talks with a member: time, CPU, memory
  relay     256 MiB on one stream through a relay, and round trips, beside direct TCP; what a relay costs with 100
            reservations and 100 circuits, at rest and at work (as root: in a network of its own)
  discovery from a start to the first link, by peer cache, HTTP tracker, UDP tracker (both opentracker), DHT and LAN

Each prints one JSON object a figure on standard output, {\"figure\":NAME,\"value\":X,\"unit\":U}, and how it stands to
its bar on standard error. Run them in release, on a quiet machine, with the temporary folder (TMPDIR) on a real disk.";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.is_empty() || args.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("{HELP}");
        return Ok(());
    }
    if let Some(unknown) = args
        .iter()
        .find(|arg| !NAMES.contains(&arg.as_str()) && !HIDDEN.contains(&args[0].as_str()))
    {
        bail!("no benchmark is called {unknown:?}\n\n{HELP}");
    }
    if let Ok(log) = std::env::var("RUST_LOG")
        && args[0] != mesh::CHILD
    {
        bitchat::telemetry::start(&log, bitchat::telemetry::Format::Human)?;
    }
    let runtime = tokio::runtime::Runtime::new()?;
    if args[0] == child::MODE {
        return runtime.block_on(child::run(&args[1..]));
    }
    for name in &args {
        match name.as_str() {
            mesh::CHILD => runtime.block_on(mesh::child())?,
            "discovery" => runtime.block_on(discovery::run())?,
            "flood" => runtime.block_on(flood::run())?,
            "relay" => {
                runtime.block_on(relay::run())?;
                relay_costs::begin()?;
            }
            relay_costs::INSIDE => runtime.block_on(relay_costs::run())?,
            "latency" => runtime.block_on(latency::run())?,
            "mesh" => runtime.block_on(mesh::run())?,
            "burst" => burst::run()?,
            "sync" => sync::run()?,
            _ => idle::run()?,
        }
    }
    Ok(())
}
