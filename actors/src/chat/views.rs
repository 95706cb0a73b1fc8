//! Events as they are shown.

use bitchat_wire::{
    event::{Body, EventHeader, ReadMark},
    identity::IdentityId,
};

use super::{
    api::{DeliveryState, EventKind, EventView, MemberView, Progress},
    fold::{Folded, fold},
    snapshot::Snapshot,
    tables::LogEntry,
};

/// An author's clock is believed up to this long past the arrival here.
const CLOCK_LEEWAY_MS: u64 = 5 * 60 * 1_000;

impl Snapshot {
    /// Shows an event of the store.
    pub fn view(&self, entry: LogEntry) -> EventView {
        let header = *entry.event.header();
        let mut shown: Folded =
            fold(&entry.event, &entry.author, &entry.references).unwrap_or_default();
        let kind = match Body::of(&entry.event) {
            Body::Genesis(_) => EventKind::Joined,
            Body::Text(_) => EventKind::Text(std::mem::take(&mut shown.said.text)),
            Body::Profile { name } => EventKind::Profile(name),
            Body::Leave => EventKind::Left,
            Body::Edit { target, said } => EventKind::Edit {
                target,
                text: said.text,
            },
            Body::Delete { target } => EventKind::Delete { target },
            Body::React { target, emoji } => EventKind::React { target, emoji },
            Body::Read(_) => EventKind::Read,
            Body::Picture(_) => EventKind::Picture,
            Body::Status(line) => EventKind::Status(line),
            _ => EventKind::Unknown,
        };
        EventView {
            position: entry.position,
            cid: entry.cid,
            id: entry.event.id(),
            author: entry.author,
            author_name: self.names.get(&entry.author).cloned().unwrap_or_default(),
            device: header.device,
            seq: header.seq,
            lamport: header.lamport,
            time_ms: header
                .wall_ms
                .min(entry.arrival_ms.saturating_add(CLOCK_LEEWAY_MS)),
            kind,
            reply_to: shown.said.reply_to,
            edited: shown.edited,
            deleted: shown.deleted,
            reactions: shown.reactions,
            mentions: shown
                .said
                .mentions
                .iter()
                .filter_map(|id| self.known.get(id).copied())
                .collect(),
            state: self.delivery(&header, &entry.author),
        }
    }

    fn delivery(&self, header: &EventHeader, author: &IdentityId) -> DeliveryState {
        let (device, seq) = (header.device.as_bytes(), header.seq);
        let place = ReadMark {
            lamport: header.lamport,
            device: *device,
            seq,
        };
        let has = |member: &MemberView| {
            // We have every event that we show.
            member.me
                || self
                    .marks
                    .get(device)
                    .and_then(|marks| marks.get(&member.id))
                    .is_some_and(|&next| next > seq)
        };
        let others: Vec<&MemberView> = self
            .members
            .iter()
            .filter(|member| member.id != *author)
            .collect();
        let delivered = others.iter().filter(|member| has(member)).count();
        let read = |member: &&&MemberView| {
            self.reads
                .get(&member.id)
                .is_some_and(|mark| *mark >= place)
        };
        let read = others.iter().filter(read).count();
        let ours = header.device == self.my_device && *author == self.me;
        let progress = if delivered > 0 {
            Progress::Delivered
        } else if !ours || seq < self.sent_to {
            Progress::Sent
        } else {
            Progress::Waiting
        };
        DeliveryState {
            progress,
            delivered,
            of: others.len(),
            read,
        }
    }
}
