//! A bot that says in a channel again whatever is said there.
//!
//! `cargo run --example echo -- FILE.chat HOME`: the channel's file, and a folder that keeps the bot's identity and log.
#![allow(clippy::print_stdout)]

use std::{
    error::Error,
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
};

use bitchat_actors::{
    chat::{EventKind, Position},
    node::Node,
    wire::{channel::ChannelFile, identity::IdentityKey},
};

/// What answers begin with. Such words are not answered: two of these bots would talk for ever.
const MARK: &str = "echo: ";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [file, home] = args.as_slice() else {
        return Err("usage: echo FILE.chat HOME".into());
    };
    let home = Path::new(home);
    fs::create_dir_all(home)?;
    let node = Node::builder(home.join("echo.db"), identity(home)?)
        .name("Echo")
        .start()
        .await?;
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
            let answer = chat.send(format!("{MARK}{text}")).key(event.id);
            if let Err(error) = answer.await {
                println!("not answered: {error}");
            }
        }
    }
    node.stop().await;
    Ok(())
}

/// Who the bot is: a secret key, made at the first start.
fn identity(home: &Path) -> Result<IdentityKey, Box<dyn Error>> {
    let path = home.join("identity.key");
    if !path.exists() {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let key = IdentityKey::generate(&mut rand::rng());
        options.open(&path)?.write_all(key.seed().as_slice())?;
    }
    let seed: [u8; 32] = fs::read(&path)?.as_slice().try_into()?;
    Ok(IdentityKey::from_seed(&seed))
}
