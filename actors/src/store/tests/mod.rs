#![allow(clippy::unwrap_used, clippy::print_stdout)]
//! The store on real files.

mod crash;
mod faults;
mod forks;
mod life;
mod logs;
mod model;
mod open;
mod tables;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bitchat_wire::{
    channel::ChannelId,
    event::{Body, Event, EventId, genesis_body},
    identity::{Certificate, DeviceId, DeviceKey, IdentityId, IdentityKey},
};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{ChannelRecord, NewEvent, Store, StoreError, index::Indexes, open as file};
use crate::{
    chat::tables::{PageQuery, Tables},
    kit::{Metrics, Scope},
    migrations::STEPS,
    node::indexes::INDEXES,
};

/// Long enough for a machine that does other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const CID: ChannelId = ChannelId([7; 32]);
pub(crate) const OTHER: ChannelId = ChannelId([8; 32]);

/// An open store in a folder of its own, with the channel [`CID`].
pub(crate) struct Home {
    pub(crate) store: Store,
    pub(crate) scope: Scope,
    pub(crate) folder: TempDir,
}

impl Home {
    pub(crate) async fn new() -> Self {
        let home = Self::at(TempDir::new().unwrap()).await.unwrap();
        home.store.put_channel(record(CID)).await.unwrap();
        home
    }

    pub(crate) async fn at(folder: TempDir) -> Result<Self, StoreError> {
        let (scope, _) = Scope::new(Metrics::default());
        let store = Store::open(&folder.path().join("db"), &scope, INDEXES).await?;
        Ok(Self {
            store,
            scope,
            folder,
        })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("db")
    }

    pub(crate) async fn stop(self) -> TempDir {
        assert!(self.scope.stop(PATIENCE).await);
        self.folder
    }

    pub(crate) async fn reopen(self) -> Self {
        Self::at(self.stop().await).await.unwrap()
    }

    pub(crate) async fn texts(&self) -> Vec<String> {
        texts(&self.store, None, 1_000).await
    }
}

/// Makes a database of the first version.
pub(crate) fn first_version(path: &Path) -> Connection {
    file::writer(path, &STEPS[..1], &Indexes::new(INDEXES)).unwrap()
}

pub(crate) fn record(cid: ChannelId) -> ChannelRecord {
    ChannelRecord {
        cid,
        file: vec![cid.0[0]; 300],
        joined_ms: 1_000,
    }
}

pub(crate) fn identity(person: u8) -> IdentityId {
    IdentityKey::from_seed(&[person; 32]).id()
}

/// A device that writes its log.
#[derive(Clone)]
pub(crate) struct Pen {
    pub(crate) cid: ChannelId,
    pub(crate) key: [u8; 32],
    pub(crate) identity: IdentityId,
    pub(crate) certificate: Certificate,
    pub(crate) next: u64,
    pub(crate) head: EventId,
    pub(crate) lamport: u64,
}

impl Pen {
    pub(crate) fn new(cid: ChannelId, person: u8, device: u8) -> Self {
        let key = [device; 32];
        let identity = IdentityKey::from_seed(&[person; 32]);
        let certificate = identity.certify(&DeviceKey::from_seed(&key).id(), 1_700_000_000);
        Self {
            cid,
            key,
            identity: identity.id(),
            certificate,
            next: 0,
            head: EventId::ZERO,
            lamport: 0,
        }
    }

    /// One whose first event is in the store.
    pub(crate) async fn started(store: &Store, person: u8, device: u8) -> Self {
        let mut pen = Self::new(CID, person, device);
        let first = pen.first();
        store.append(CID, vec![first]).await.unwrap();
        pen
    }

    pub(crate) fn device(&self) -> DeviceId {
        self.certificate.device
    }

    pub(crate) fn write(&mut self, lamport: u64, body: &[u8]) -> NewEvent {
        let event = Event::author(
            &self.cid,
            &DeviceKey::from_seed(&self.key),
            0,
            self.next,
            self.head,
            lamport,
            1_700_000_000_000,
            body,
        )
        .unwrap();
        self.next += 1;
        self.head = event.id();
        self.lamport = lamport;
        NewEvent {
            event,
            arrival_ms: 5_000 + self.next,
            key: None,
            identity: self.identity,
        }
    }

    pub(crate) fn first(&mut self) -> NewEvent {
        let body = genesis_body(&self.certificate);
        self.write(1, &body)
    }

    pub(crate) fn says(&mut self, text: &str) -> NewEvent {
        self.write(self.lamport + 1, &Body::text(text).unwrap())
    }

    pub(crate) fn keyed(&mut self, text: &str, key: &str) -> NewEvent {
        NewEvent {
            key: Some(key.to_owned()),
            ..self.says(text)
        }
    }
}

pub(crate) fn text_of(event: &Event) -> String {
    match Body::of(event) {
        Body::Text(said) => said.text,
        other => format!("{other:?}"),
    }
}

pub(crate) async fn texts(store: &Store, before: Option<EventId>, limit: usize) -> Vec<String> {
    let query = PageQuery {
        before,
        limit,
        conversation_only: true,
    };
    let page = Tables(store).page(CID, query).await.unwrap();
    page.iter().map(|entry| text_of(&entry.event)).collect()
}
