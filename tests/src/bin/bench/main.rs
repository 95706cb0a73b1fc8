//! Benchmarks: each prints its figures as JSON objects, one a line, beside the floor of the machine where
//! there is one. Run them on a quiet machine, in release:
//!
//! `cargo run --release -p bitchat-tests --bin bench -- latency|mesh|burst|idle|sync`
#![allow(clippy::print_stdout)]

mod burst;
mod child;
mod figure;
mod floor;
mod idle;
mod latency;
mod mesh;
mod node;
mod sync;

use anyhow::{Result, bail};

const HELP: &str = "\
Usage: bench NAME...

  latency   a message from the API of one node to the event stream of another, beside raw QUIC's round trip
  mesh      50 nodes of one channel in one process: time and CPU to the full mesh, a broadcast, memory
  burst     three processes, 100,000 events, to the last commit everywhere
  sync      a newcomer gets 100,000 events from three members that go on talking
  idle      a process with one channel and two links, left alone for two minutes

Each prints one JSON object a figure: {\"figure\":NAME,\"value\":X,\"unit\":U}";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new()?;
    if args.is_empty() || args.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("{HELP}");
        return Ok(());
    }
    if args[0] == child::MODE {
        return runtime.block_on(child::run(&args[1..]));
    }
    for name in &args {
        match name.as_str() {
            "latency" => runtime.block_on(latency::run())?,
            "mesh" => runtime.block_on(mesh::run())?,
            "burst" => burst::run()?,
            "sync" => sync::run()?,
            "idle" => idle::run()?,
            other => bail!("no benchmark is called {other:?}\n\n{HELP}"),
        }
    }
    Ok(())
}
