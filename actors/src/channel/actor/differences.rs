//! Compares logs in the store with those of members: where they differ is a fork (`docs/PROTOCOL.md`, forks).

use bitchat_wire::{
    event::Event,
    identity::DeviceId,
    message::{self, MAX_IDS},
    proto::{self, link_message::Kind},
};
use bytes::Bytes;

use super::Shell;
use crate::{
    channel::{device::Device, effects::Input},
    link::LinkId,
};

impl Shell {
    /// Sends a link our ids of a log's events `from..to`.
    pub(super) fn send_ids(&mut self, link: LinkId, device: Device, from: u64, to: u64) {
        let Some(handle) = self.links.get(&link).map(|link| link.handle.clone()) else {
            return;
        };
        let Ok(id) = DeviceId::from_bytes(&device) else {
            return;
        };
        let (store, cid) = (self.config.store.clone(), self.config.cid());
        self.spawn(async move {
            let ids = store.event_ids(cid, id, from, to).await.ok()?;
            let ids = ids.iter().map(|id| Bytes::copy_from_slice(&id.0)).collect();
            let message = message::encode(Kind::Ids(proto::Ids {
                device: Bytes::copy_from_slice(&device),
                from,
                ids,
            }));
            // Outside the credits: if the mailbox is full the message is lost, and the next suspicion asks again.
            handle.try_send(message.into());
            None
        });
    }

    /// Compares a member's ids of a log with ours. Where they differ, the machine gets our first event that does.
    pub(super) fn compare(&mut self, link: LinkId, ids: proto::Ids) {
        let Some(handle) = self.links.get(&link).map(|link| link.handle.clone()) else {
            return;
        };
        let (store, cid) = (self.config.store.clone(), self.config.cid());
        self.spawn(async move {
            let device = DeviceId::from_bytes(&ids.device).ok()?;
            let ours = store
                .event_ids(
                    cid,
                    device,
                    ids.from,
                    ids.from.saturating_add(ids.ids.len() as u64),
                )
                .await
                .ok()?;
            let differs =
                ours.iter()
                    .zip(&ids.ids)
                    .position(|(ours, theirs)| ours.0[..] != theirs[..])? as u64;
            if differs == 0 && ids.from > 0 {
                // They differ even earlier: the other side compares what lies before.
                let from = ids.from.saturating_sub(MAX_IDS as u64);
                let earlier = store.event_ids(cid, device, from, ids.from).await.ok()?;
                let earlier = earlier
                    .iter()
                    .map(|id| Bytes::copy_from_slice(&id.0))
                    .collect();
                let message = message::encode(Kind::Ids(proto::Ids {
                    device: ids.device,
                    from,
                    ids: earlier,
                }));
                handle.try_send(message.into());
            }
            let seq = ids.from + differs;
            let event = store
                .events(cid, device, seq, seq + 1, 1)
                .await
                .ok()?
                .into_iter()
                .next()?;
            Some(Input::FirstDifference(link, event))
        });
    }

    /// Compares an event with ours of the same number: if they differ, that is the proof of a fork.
    pub(super) fn compare_event(&mut self, theirs: Event) {
        let (store, cid) = (self.config.store.clone(), self.config.cid());
        self.spawn(async move {
            let header = *theirs.header();
            let ours = store
                .events(cid, header.device, header.seq, header.seq + 1, 1)
                .await
                .ok()?
                .into_iter()
                .next()?;
            (ours.header().seq == header.seq && ours.forks(&theirs))
                .then(|| Input::Proven(Box::new((ours, theirs))))
        });
    }
}
