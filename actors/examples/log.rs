//! Prints the messages of a channel: first all that are known, then those that arrive.
//!
//! `cargo run --example log -- FILE.chat HOME`: the channel's file, and a folder that keeps the node's identity and log.
#![allow(clippy::print_stdout)]

mod common;

use std::{error::Error, fs, path::Path};

use bitchat_actors::{EventKind, Position, wire::channel::ChannelFile};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [file, home] = args.as_slice() else {
        return Err("usage: log FILE.chat HOME".into());
    };
    let node = common::start(Path::new(home), "Log").await?;
    let chat = node.join(ChannelFile::parse(&fs::read(file)?)?).await?;
    println!("{} listens on port {}", node.id(), node.port());

    let mut events = chat.follow(Position::Start).await?;
    loop {
        let event = tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            event = events.next() => match event? {
                Some(event) => event,
                None => break,
            },
        };
        let author = match event.author_name.as_str() {
            "" => event.author.to_string(),
            name => name.to_owned(),
        };
        match event.kind {
            EventKind::Joined => println!("{author} joined"),
            EventKind::Text(text) => println!("{author}: {text}"),
            EventKind::Left => println!("{author} left"),
            _ => {}
        }
    }
    node.stop().await;
    Ok(())
}
