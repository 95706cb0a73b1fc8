//! `channel ...` and `members`.

use std::{
    fs::File,
    io::{Read, stdin},
    path::Path,
};

use bitchat_wire::channel::ChannelFile;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    args::{ChannelCommand, Create, Export},
    out::{Out, line, text},
    render,
};
use crate::{client::Client, error::Failure, home::Home, os, term};

/// No channel file is larger; its link is a third longer.
const FILE_CAP: u64 = 256 * 1024;
const LINK_CAP: u64 = FILE_CAP / 3 * 4 + 64;

pub(super) async fn run(home: &Home, command: ChannelCommand, out: Out) -> Result<(), Failure> {
    match command {
        ChannelCommand::Create(create) => self::create(home, create, out).await,
        ChannelCommand::Join { source } => join(home, &source, out).await,
        ChannelCommand::List => {
            let client = Client::of(home)?;
            let request = client.request(Method::GET, &["v1", "channels"])?;
            let answer = client.json(request).await?;
            out.show_each(items(&answer, "channels"), render::channels)
        }
        ChannelCommand::Info(of) => {
            let client = Client::of(home)?;
            let request = client.request(Method::GET, &["v1", "channels", &of.channel])?;
            out.show(&client.json(request).await?, render::info)
        }
        ChannelCommand::Leave(of) => {
            let client = Client::of(home)?;
            let request = client.request(Method::DELETE, &["v1", "channels", &of.channel])?;
            out.show(&client.json(request).await?, |v| {
                format!("left {}, and forgot all that was said in it", text(v, "id"))
            })
        }
        ChannelCommand::Export(export) => self::export(home, export, out).await,
        ChannelCommand::Link { channel, qr } => {
            let file = fetch(&Client::of(home)?, &channel).await?;
            show_link(&file, qr, out)
        }
        ChannelCommand::Tracker(command) => super::tracker::run(home, command, out).await,
        ChannelCommand::Connect { channel, address } => {
            let client = Client::of(home)?;
            let request = client.post(
                &["v1", "channels", &channel, "connect"],
                &json!({"addr": address.to_string()}),
            )?;
            out.show(&client.json(request).await?, |v| {
                format!(
                    "trying {}; `bitchat members` shows whether somebody is there",
                    text(v, "addr")
                )
            })
        }
    }
}

pub(super) async fn members(home: &Home, channel: &str, out: Out) -> Result<(), Failure> {
    let client = Client::of(home)?;
    let request = client.request(Method::GET, &["v1", "channels", channel, "members"])?;
    let answer = client.json(request).await?;
    out.show_each(items(&answer, "members"), render::members)
}

/// The list in that field.
fn items<'a>(answer: &'a Value, key: &str) -> &'a [Value] {
    answer[key].as_array().map_or(&[], Vec::as_slice)
}

async fn create(home: &Home, create: Create, out: Out) -> Result<(), Failure> {
    let client = Client::of(home)?;
    // Before the channel is made, so that none is made in vain.
    check_target(&create.out, create.force)?;
    let trackers = if create.tracker.is_empty() {
        home.config()?.trackers
    } else {
        create.tracker
    };
    let hinted = create.default_trackers || !create.node.is_empty() || !create.relay.is_empty();
    let alone = trackers.is_empty() && !hinted;
    let request = client.post(
        &["v1", "channels"],
        &json!({
            "name": create.name,
            "policy": create.policy,
            "rotate": create.rotate,
            "trackers": trackers,
            "default_trackers": create.default_trackers,
            "nodes": create.node,
            "relays": create.relay,
        }),
    )?;
    let mut made = client.json(request).await?;
    let file = ChannelFile::parse_link(text(&made, "link"))
        .map_err(|e| Failure::new("internal", e.to_string()))?;
    write_file(&create.out, &file, create.force).map_err(|e| {
        Failure::new(
            e.code,
            format!(
                "{}. The channel is there all the same: `bitchat channel export {} --out FILE` writes its file",
                e.message,
                text(&made, "id")
            ),
        )
    })?;
    made["out"] = json!(create.out);
    out.show(&made, |made| {
        let mut lines = format!(
            "made the channel {} ({})\nwrote {}: give it to those who may come in, and to nobody else",
            term::inert(text(made, "name")),
            text(made, "id"),
            create.out.display()
        );
        if alone {
            lines.push_str(
                "\nIt names neither tracker nor DHT node nor relay: members find each other in the DHT, or by `bitchat channel connect`. `--default-trackers` names public trackers; `bitchat channel tracker add` adds one later.",
            );
        }
        lines
    })
}

async fn join(home: &Home, source: &str, out: Out) -> Result<(), Failure> {
    let client = Client::of(home)?;
    let bytes = if source.starts_with("bitchat:") {
        source.as_bytes().to_vec()
    } else if source == "-" {
        capped(stdin().lock(), Path::new("standard input"))?
    } else {
        let path = Path::new(source);
        let file = File::open(path).map_err(|e| Failure::io("read", path, &e))?;
        capped(file, path)?
    };
    let request = client
        .request(Method::POST, &["v1", "channels", "join"])?
        .header("content-type", "application/octet-stream")
        .body(bytes);
    out.show(&client.json(request).await?, |joined| {
        let name = term::inert(text(joined, "name"));
        format!(
            "joined {name} ({})\nNext: `bitchat send {name} \"Hello!\"` and `bitchat log {name} --follow`",
            text(joined, "id")
        )
    })
}

/// Reads no more than a channel file or link can have.
fn capped(reader: impl Read, path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    reader
        .take(LINK_CAP + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Failure::io("read", path, &e))?;
    let is_link = bytes.trim_ascii_start().starts_with(b"bitchat:");
    if bytes.len() as u64 > if is_link { LINK_CAP } else { FILE_CAP } {
        return Err(Failure::new(
            "bad_file",
            format!(
                "{} is larger than any channel file (256 KiB)",
                path.display()
            ),
        ));
    }
    Ok(bytes)
}

async fn export(home: &Home, export: Export, out: Out) -> Result<(), Failure> {
    let client = Client::of(home)?;
    let Some(path) = &export.out else {
        let file = fetch(&client, &export.channel).await?;
        return show_link(&file, export.qr, out);
    };
    check_target(path, export.force)?;
    let file = fetch(&client, &export.channel).await?;
    write_file(path, &file, export.force)?;
    let value = json!({"id": file.id().to_string(), "name": file.info().name, "out": path});
    out.show(&value, |_| {
        format!(
            "wrote {}: give it to those who may come in, and to nobody else",
            path.display()
        )
    })
}

async fn fetch(client: &Client, channel: &str) -> Result<ChannelFile, Failure> {
    let request = client.request(Method::GET, &["v1", "channels", channel, "file"])?;
    ChannelFile::parse(&client.bytes(request).await?)
        .map_err(|e| Failure::new("internal", e.to_string()))
}

fn show_link(file: &ChannelFile, qr: bool, out: Out) -> Result<(), Failure> {
    let link = file.to_link();
    if out.json {
        return line(
            &json!({"id": file.id().to_string(), "name": file.info().name, "link": link})
                .to_string(),
        );
    }
    if !qr {
        return line(&link);
    }
    match term::qr(&link) {
        Some(code) => line(&code),
        None => Err(Failure::new(
            "too_large",
            "the link is too long for a QR code: send the file, or use fewer trackers",
        )),
    }
}

fn check_target(path: &Path, force: bool) -> Result<(), Failure> {
    if !force && path.symlink_metadata().is_ok() {
        return Err(Failure::new(
            "exists",
            format!(
                "{} exists already: choose another name, or --force to replace it",
                path.display()
            ),
        ));
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(Failure::new(
            "io",
            format!("there is no folder {}", folder.display()),
        ));
    }
    Ok(())
}

fn write_file(path: &Path, file: &ChannelFile, force: bool) -> Result<(), Failure> {
    if force {
        os::write_private(path, &file.to_bytes())
    } else {
        os::write_private_new(path, &file.to_bytes())
    }
}
