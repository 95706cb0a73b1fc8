//! Copies the messages of one channel to another.
//!
//! `cargo run --example bridge -- FROM.chat TO.chat HOME`: the channels' files, and a folder that keeps the bridge's
//! identity and log.
#![allow(clippy::print_stdout)]

mod common;

use std::{error::Error, fs, path::Path};

use bitchat_actors::{EventKind, Position, wire::channel::ChannelFile};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, home] = args.as_slice() else {
        return Err("usage: bridge FROM.chat TO.chat HOME".into());
    };
    let node = common::start(Path::new(home), "Bridge").await?;
    let from = node.join(ChannelFile::parse(&fs::read(from)?)?).await?;
    let to = node.join(ChannelFile::parse(&fs::read(to)?)?).await?;
    println!("{} listens on port {}", node.id(), node.port());

    // From the beginning, so that no message is missed while the bridge is not running.
    let mut events = from.follow(Position::Start).await?;
    loop {
        let event = tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            event = events.next() => match event? {
                Some(event) => event,
                None => break,
            },
        };
        // The bridge's own messages are not copied, or two bridges in opposite directions would never stop.
        if let EventKind::Text(text) = event.kind
            && event.author != node.id()
        {
            // With the event's id as the key, no event is ever copied twice.
            let copy = to
                .send(format!("{}: {text}", event.author_name))
                .key(event.id);
            if let Err(error) = copy.await {
                println!("not copied: {error}");
            }
        }
    }
    node.stop().await;
    Ok(())
}
