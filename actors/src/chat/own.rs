//! Our own profile: set once for the node, and written into the log of every channel.

use bitchat_wire::{
    channel::ChannelId,
    event::{Body, EventId, Picture},
};

use super::{api::ChatError, profile::Profile, tables::Tables};
use crate::store::{Store, StoreError};

/// The node's value with our status line, as it was last set.
const STATUS: &str = "profile_status";
/// The node's value with our picture, as it was last set; empty if it was removed.
const PICTURE: &str = "profile_picture";

/// The bodies that bring `published`, our profile in this channel, in line with the node's. A status or picture that was never set
/// here is left alone: another device of ours may have published one.
pub(super) async fn missing(
    store: &Store,
    cid: ChannelId,
    name: &str,
    published: &Profile,
) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut bodies = Vec::new();
    let name = name.trim();
    if published.name() != name
        && let Ok(body) = Body::profile(name)
    {
        bodies.push(body);
    }
    if let Some(line) = store.value(STATUS).await?
        && let Ok(line) = std::str::from_utf8(&line)
        && line != published.status()
        && let Ok(body) = Body::status(line)
    {
        bodies.push(body);
    }
    if let Some(bytes) = store.value(PICTURE).await? {
        let shown = picture(store, cid, published.picture()).await?;
        let own = Picture::new(bytes.to_vec()).ok();
        if own != shown {
            bodies.push(Body::picture(own.as_ref()));
        }
    }
    Ok(bodies)
}

/// The picture that an event holds; `None` if there is no such event, or it holds none.
pub(super) async fn picture(
    store: &Store,
    cid: ChannelId,
    event: Option<EventId>,
) -> Result<Option<Picture>, StoreError> {
    let Some(id) = event else {
        return Ok(None);
    };
    let entry = Tables(store).entry(cid, id).await?;
    Ok(entry.and_then(|entry| match Body::of(&entry.event) {
        Body::Picture(picture) => picture,
        _ => None,
    }))
}

/// Our status line, empty if there is none, and our picture, as they were last set.
pub(super) async fn profile(store: &Store) -> Result<(String, Option<Picture>), StoreError> {
    let status = store.value(STATUS).await?;
    let picture = store.value(PICTURE).await?;
    Ok((
        status
            .map(|line| String::from_utf8_lossy(&line).into_owned())
            .unwrap_or_default(),
        picture.and_then(|bytes| Picture::new(bytes.to_vec()).ok()),
    ))
}

/// Stores our status line; an empty one removes it. Returns the body that publishes it.
pub(super) async fn set_status(store: &Store, line: &str) -> Result<Vec<u8>, ChatError> {
    let line = line.trim();
    let body = Body::status(line).map_err(ChatError::BadBody)?;
    store.set_value(STATUS, line.as_bytes()).await?;
    Ok(body)
}

/// Stores our picture; `None` removes it. Returns the body that publishes it.
pub(super) async fn set_picture(
    store: &Store,
    picture: Option<&Picture>,
) -> Result<Vec<u8>, StoreError> {
    let bytes = picture.map(|p| p.bytes().to_vec()).unwrap_or_default();
    store.set_value(PICTURE, &bytes).await?;
    Ok(Body::picture(picture))
}
