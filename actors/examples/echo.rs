//! A bot that repeats every message of a channel.
//!
//! `cargo run --example echo -- FILE.chat HOME`: the channel's file, and a folder that keeps the bot's identity and log.
#![allow(clippy::print_stdout)]

mod common;

use std::{error::Error, fs, path::Path};

use bitchat_actors::{EventKind, Position, wire::channel::ChannelFile};

/// The prefix of answers. A text that begins with it is not answered, or two of these bots would never stop.
const MARK: &str = "echo: ";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [file, home] = args.as_slice() else {
        return Err("usage: echo FILE.chat HOME".into());
    };
    let node = common::start(Path::new(home), "Echo").await?;
    let chat = node.join(ChannelFile::parse(&fs::read(file)?)?).await?;
    println!("{} listens on port {}", node.id(), node.port());

    let mut events = chat.follow(Position::Now).await?;
    loop {
        let event = tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            event = events.next() => match event? {
                Some(event) => event,
                None => break,
            },
        };
        if let EventKind::Text(text) = event.kind
            && !text.starts_with(MARK)
        {
            // With the event's id as the key, no event is ever answered twice.
            let answer = chat.reply(event.id, format!("{MARK}{text}")).key(event.id);
            if let Err(error) = answer.await {
                println!("not answered: {error}");
            }
        }
    }
    node.stop().await;
    Ok(())
}
