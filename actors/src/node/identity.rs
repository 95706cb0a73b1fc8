//! What a home is known by and keeps in its database: the device's key, the port, QUIC's reset key, the disguise.

use std::time::{SystemTime, UNIX_EPOCH};

use bitchat_wire::{
    channel::ChannelId,
    crypto::hash,
    identity::{DeviceKey, IdentityKey},
};
use zeroize::Zeroizing;

use super::Builder;
use crate::{
    disguise::Disguise,
    link::LocalDevice,
    store::{DeviceRecord, Store, StoreError},
};

/// What the database keeps from one run to the next, created in the first.
pub(super) struct Kept {
    pub(super) local: LocalDevice,
    pub(super) reset_key: Zeroizing<[u8; 64]>,
    pub(super) disguise: Disguise,
    /// The last run's port, at first one that fits the disguise; 0: any.
    pub(super) port: u16,
}

impl Kept {
    pub(super) async fn load(builder: &Builder, store: &Store) -> Result<Self, StoreError> {
        let local = local_device(store, &builder.identity).await?;
        let disguise = disguise(store, builder.disguise).await?;
        let port = match stored::<2>(store, "port").await? {
            Some(bytes) => u16::from_be_bytes(*bytes),
            None => 0,
        };
        let port = match port {
            // No real client listens on loopback alone, and its usual port may be taken by a real one.
            0 if !builder.on_loopback() => disguise.port(&mut rand::rng()),
            port => port,
        };
        Ok(Self {
            local,
            reset_key: reset_key(store).await?,
            disguise,
            port,
        })
    }
}

/// Keeps the announced port for the next run.
pub(super) async fn keep_port(store: &Store, port: u16) -> Result<(), StoreError> {
    store.set_value("port", &port.to_be_bytes()).await
}

/// This home's device key. It is stored in the database beside the logs that it signs, so that neither can be restored
/// without the other.
async fn local_device(store: &Store, identity: &IdentityKey) -> Result<LocalDevice, StoreError> {
    let Some(seed) = stored::<32>(store, "device_key").await? else {
        let new = new_device();
        store
            .set_value("device_created", &new.created.to_be_bytes())
            .await?;
        store.set_value("device_key", new.seed.as_slice()).await?;
        return Ok(certified(identity, &new));
    };
    let created = stored::<8>(store, "device_created")
        .await?
        .map_or(0, |bytes| u64::from_be_bytes(*bytes));
    Ok(certified(
        identity,
        &DeviceRecord {
            seed,
            created,
            lamport: 0,
        },
    ))
}

/// A new device key.
pub(super) fn new_device() -> DeviceRecord {
    DeviceRecord {
        seed: DeviceKey::generate(&mut rand::rng()).seed(),
        created: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs(),
        lamport: 0,
    }
}

/// A device key with the identity's certificate.
pub(super) fn certified(identity: &IdentityKey, device: &DeviceRecord) -> LocalDevice {
    let key = DeviceKey::from_seed(&device.seed);
    let certificate = identity.certify(&key.id(), device.created);
    LocalDevice { key, certificate }
}

/// The tag of a channel among those that were left. It does not reveal the channel's id; who has both the database and
/// the channel's file can compute it.
pub(super) fn left_tag(home: &LocalDevice, cid: ChannelId) -> [u8; 32] {
    hash("left channel", &[home.key.seed().as_slice(), &cid.0])
}

async fn reset_key(store: &Store) -> Result<Zeroizing<[u8; 64]>, StoreError> {
    if let Some(key) = stored::<64>(store, "reset_key").await? {
        return Ok(key);
    }
    let mut key = Zeroizing::new([0; 64]);
    rand::Rng::fill_bytes(&mut rand::rng(), key.as_mut_slice());
    store.set_value("reset_key", key.as_slice()).await?;
    Ok(key)
}

/// The requested disguise, otherwise the last run's: a client does not turn into another by itself, whatever a later
/// version's default is.
async fn disguise(store: &Store, requested: Option<Disguise>) -> Result<Disguise, StoreError> {
    let kept = store.value("disguise").await?;
    let kept = kept.and_then(|name| std::str::from_utf8(&name).ok()?.parse::<Disguise>().ok());
    let disguise = requested.or(kept).unwrap_or_default();
    if kept != Some(disguise) {
        store
            .set_value("disguise", disguise.name().as_bytes())
            .await?;
    }
    Ok(disguise)
}

async fn stored<const N: usize>(
    store: &Store,
    name: &str,
) -> Result<Option<Zeroizing<[u8; N]>>, StoreError> {
    let Some(bytes) = store.value(name).await? else {
        return Ok(None);
    };
    match <[u8; N]>::try_from(bytes.as_slice()) {
        Ok(value) => Ok(Some(Zeroizing::new(value))),
        Err(_) => Err(StoreError::Database(format!(
            "the value {name:?} has {} bytes instead of {N}",
            bytes.len()
        ))),
    }
}
