#![allow(clippy::unwrap_used)]

mod bodies;
mod record;

use super::*;
use crate::{
    channel::ChannelId,
    identity::{DeviceKey, IdentityKey},
};

const CID: ChannelId = ChannelId([7; 32]);

fn keys() -> (IdentityKey, DeviceKey) {
    (
        IdentityKey::from_seed(&[1; 32]),
        DeviceKey::from_seed(&[2; 32]),
    )
}

fn genesis() -> Event {
    let (identity, device) = keys();
    let body = genesis_body(&identity.certify(&device.id(), 1_700_000_000));
    Event::author(
        &CID,
        &device,
        0,
        0,
        EventId::ZERO,
        1,
        1_700_000_000_000,
        &body,
    )
    .unwrap()
}

fn said(body: &[u8]) -> Event {
    Event::author(
        &CID,
        &keys().1,
        3,
        1,
        genesis().id(),
        9,
        1_700_000_000_001,
        body,
    )
    .unwrap()
}
