//! What users see of the channel at this moment.

use super::*;

impl Shell {
    pub(super) fn snapshot(&self, machine: &Machine) -> Snapshot {
        let me = self.config.local.certificate.identity;
        let mut identities: Vec<IdentityId> = machine
            .logs
            .iter()
            .map(|(_, log)| log.certificate.identity)
            .collect();
        identities.extend(self.links.values().map(|link| link.identity));
        identities.push(me);
        identities.sort_unstable();
        identities.dedup();
        let known = identities.iter().map(|id| (*id.as_bytes(), *id)).collect();
        identities.retain(|id| *id == me || !self.people.has_left(id) || machine.is_online(id));
        let forked: HashSet<IdentityId> = machine
            .logs
            .iter()
            .filter(|(_, log)| log.closed_at.is_some())
            .map(|(_, log)| log.certificate.identity)
            .collect();
        let (now, nothing) = (Instant::now(), Profile::default());
        let mut members: Vec<MemberView> = identities
            .iter()
            .map(|id| (id, self.people.profile(id).unwrap_or(&nothing)))
            .map(|(id, profile)| MemberView {
                id: *id,
                name: profile.name().to_owned(),
                status: profile.status().to_owned(),
                picture: profile.picture(),
                typing: self.people.is_typing(id, now),
                me: *id == me,
                online: *id == me || machine.is_online(id),
                path: self.path(id),
                forked: forked.contains(id),
            })
            .collect();
        members.sort_by(|a, b| {
            b.me.cmp(&a.me)
                .then_with(|| a.name.cmp(&b.name))
                .then_with(|| a.id.cmp(&b.id))
        });
        let (online, all) = (members.iter().filter(|m| m.online).count(), members.len());
        let mesh = match online {
            _ if online == all && all > 1 => Mesh::Full,
            0 | 1 => Mesh::None,
            _ => Mesh::Partial,
        };
        Snapshot {
            members,
            mesh,
            trouble: self.trouble.as_ref().map(|(text, _)| text.clone()),
            names: self.people.names(),
            reads: self.people.reads(),
            known,
            marks: machine.marks.by_author(),
            me,
            my_device: machine.me,
            sent_to: machine.sent_to,
        }
    }

    pub(super) fn path(&self, id: &IdentityId) -> Option<PathView> {
        let best = self
            .links
            .values()
            .filter(|link| link.identity == *id)
            .min_by_key(|link| {
                // While a link moves there are two, and the old one may be on a dead connection.
                let connection = link.handle.connection();
                let leaves = connection.is_draining() || connection.is_stalled();
                (leaves, connection.rtt())
            })?;
        let connection = best.handle.connection();
        Some(PathView {
            kind: connection.path(),
            address: connection.target(),
            via: connection.relay(),
            source: best.source.as_ref().map(|way| way.source.clone()),
            took: best.source.as_ref().map(|way| way.took),
            rtt_ms: connection.rtt().as_secs_f64() * 1_000.0,
        })
    }
}
