//! The chat's view of its channel: keeps [`People`] in step with the logs.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bitchat_wire::{
    channel::ChannelId,
    event::{Body, Event},
    identity::{DeviceId, IdentityId},
};
use futures_util::future::BoxFuture;

use super::{own, people::People, tables::Tables};
use crate::{
    channel::{Reader, Signal},
    store::{LogHead, Store, StoreError},
};

/// [`People`] as shared by the channel's actor, which writes it, and the handles, which read it.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<People>>);

impl Shared {
    /// Never held across an `await`.
    pub(super) fn lock(&self) -> MutexGuard<'_, People> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The [`Reader`] of one channel.
#[derive(Clone)]
pub(super) struct PeopleReader {
    pub(super) store: Store,
    pub(super) cid: ChannelId,
    /// Our identity.
    pub(super) me: IdentityId,
    /// The name that we sign.
    pub(super) name: String,
    pub(super) people: Shared,
}

impl PeopleReader {
    /// Each device, with its identity and whether its log ends with a leave.
    async fn left(
        &self,
        heads: &[LogHead],
    ) -> Result<Vec<(IdentityId, DeviceId, bool)>, StoreError> {
        let mut left = Vec::new();
        for head in heads {
            let last = head.next.saturating_sub(1);
            let last = self
                .store
                .events(self.cid, head.certificate.device, last, head.next, 1)
                .await?;
            let is_leave = |event: &Event| Body::of(event) == Body::Leave;
            let left_here = last.first().is_some_and(is_leave);
            let certificate = head.certificate;
            left.push((certificate.identity, certificate.device, left_here));
        }
        Ok(left)
    }
}

impl Reader for PeopleReader {
    fn load<'a>(
        &'a mut self,
        heads: &'a [LogHead],
    ) -> BoxFuture<'a, Result<Vec<Vec<u8>>, StoreError>> {
        Box::pin(async move {
            let left = self.left(heads).await?;
            let people = People::load(Tables(&self.store).profiles(self.cid).await?, left);
            let own = people.profile(&self.me).cloned().unwrap_or_default();
            *self.people.lock() = people;
            own::missing(&self.store, self.cid, &self.name, &own).await
        })
    }

    fn committed(&mut self, who: IdentityId, event: &Event) {
        self.people.lock().committed(who, event);
    }

    fn signal(&mut self, who: IdentityId, signal: Signal) {
        match signal {
            Signal::Typing => self.people.lock().typing(who, Instant::now()),
        }
    }

    fn gone(&mut self, who: IdentityId) {
        self.people.lock().gone(&who);
    }

    fn removed(&mut self, who: IdentityId) -> BoxFuture<'static, ()> {
        let (store, cid, people) = (self.store.clone(), self.cid, self.people.clone());
        Box::pin(async move {
            let Ok(profiles) = Tables(&store).profiles(cid).await else {
                return;
            };
            let kept = profiles.into_iter().find(|(of, _)| *of == who);
            let kept = kept.map(|(_, profile)| profile).unwrap_or_default();
            people.lock().replace(who, kept);
        })
    }
}
