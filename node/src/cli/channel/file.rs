//! Channel files: reading, writing and showing them.

use std::{io::Read, path::Path};

use bitchat_wire::channel::ChannelFile;
use serde_json::json;

use crate::{
    cli::out::{Out, line},
    error::Failure,
    os, term,
};

/// Bound on a channel file, in bytes.
const FILE_CAP: u64 = 256 * 1024;
/// Bound on a link, which is a third longer than the file.
const LINK_CAP: u64 = FILE_CAP / 3 * 4 + 64;

/// Reads at most as much as a channel file or link can have.
pub(super) fn capped(reader: impl Read, path: &Path) -> Result<Vec<u8>, Failure> {
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
                "{} is not a channel file: it is larger than 256 KiB",
                path.display()
            ),
        ));
    }
    Ok(bytes)
}

/// Prints the link of a channel, or its QR code.
pub(super) fn show_link(file: &ChannelFile, qr: bool, out: Out) -> Result<(), Failure> {
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

/// Checks that a file can be written there.
pub(super) fn check_target(path: &Path, force: bool) -> Result<(), Failure> {
    if !force && path.symlink_metadata().is_ok() {
        return Err(os::taken(path));
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(Failure::new(
            "io",
            format!(
                "the folder {} does not exist: create it, or choose another",
                folder.display()
            ),
        ));
    }
    Ok(())
}

/// Writes a channel file that only its owner can read.
pub(super) fn write(path: &Path, file: &ChannelFile, force: bool) -> Result<(), Failure> {
    if force {
        os::write_private(path, &file.to_bytes())
    } else {
        os::write_private_new(path, &file.to_bytes())
    }
}
