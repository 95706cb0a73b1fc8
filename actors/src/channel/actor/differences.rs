//! Compares logs with those of members, from the store: where they part is a fork (`docs/PROTOCOL.md`, forks).

use super::*;

impl Shell {
    pub(super) fn send_ids(&mut self, link: LinkId, device: Device, from: u64, to: u64) {
        let Some(handle) = self.links.get(&link).map(|link| link.handle.clone()) else {
            return;
        };
        let Ok(id) = DeviceId::from_bytes(&device) else {
            return;
        };
        let (store, cid) = (self.config.store.clone(), self.config.cid());
        self.read(async move {
            let ids = store.event_ids(cid, id, from, to).await.ok()?;
            let ids = ids.iter().map(|id| Bytes::copy_from_slice(&id.0)).collect();
            let message = message::encode(Kind::Ids(proto::Ids {
                device: Bytes::copy_from_slice(&device),
                from,
                ids,
            }));
            // Outside the credits: a full mailbox loses it, and the next suspicion asks again.
            handle.try_send(message.into());
            None
        });
    }

    pub(super) fn compare(&mut self, link: LinkId, ids: proto::Ids) {
        let Some(handle) = self.links.get(&link).map(|link| link.handle.clone()) else {
            return;
        };
        let (store, cid) = (self.config.store.clone(), self.config.cid());
        self.read(async move {
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
                // They part even earlier: the other side compares what lies before.
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

    pub(super) fn compare_event(&mut self, theirs: Event) {
        let (store, cid) = (self.config.store.clone(), self.config.cid());
        self.read(async move {
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
