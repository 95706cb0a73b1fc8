//! Channel ids, epoch keys and rendezvous hashes (`docs/PROTOCOL.md`, channels).

use std::fmt;

use crate::{
    crypto::{Secret, expand, expand_key, extract, hash},
    identity::IdentityId,
};

/// The epoch number of an invite-only channel's lobby.
pub const LOBBY_EPOCH: u32 = 0xffff_ffff;
/// The length of a rendezvous period, in seconds.
pub const PERIOD: u64 = 86_400;
/// Distance from a period's boundary within which the neighbouring hash is announced, too, in seconds.
pub const PERIOD_OVERLAP: u64 = 3_600;

/// A channel's id, which covers its whole `info` and is used by storage, keys and signatures. Shown as hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(pub [u8; 32]);

/// The 20 bytes announced to trackers and the DHT for one period. Shown as hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RendezvousHash(pub [u8; 20]);

/// The keys of one epoch of a channel, wiped when dropped.
#[derive(Clone)]
pub struct EpochKeys {
    /// The channel that the keys belong to.
    pub cid: ChannelId,
    /// The epoch, from 0.
    pub epoch: u32,
    /// Key of the tag that proves membership in a handshake's first message.
    pub tag: Secret,
    /// Salt of the handshake.
    pub link: Secret,
    /// Key that rendezvous hashes are derived from.
    pub rendezvous: Secret,
    /// Key that registrations at relays are derived from.
    pub relay: Secret,
    /// Key that mailbox tags are derived from.
    pub mail: Secret,
    /// Key that tags for the local network are derived from.
    pub lan: Secret,
    /// The fixed hash of a channel whose hash never changes; `None` for any other.
    fixed: Option<RendezvousHash>,
}

impl ChannelId {
    /// The id of a channel with a file: `H("channel"; raw bencoded info)`.
    pub fn of_info(raw_info: &[u8]) -> Self {
        Self(hash("channel", &[raw_info]))
    }

    /// The id of a group: `H("group"; owner-signed genesis)`.
    pub fn of_group(genesis: &[u8]) -> Self {
        Self(hash("group", &[genesis]))
    }

    /// The id of a conversation between two, the same for both: `H("direct"; lower id ‖ higher id)`.
    pub fn of_direct(a: &IdentityId, b: &IdentityId) -> Self {
        let (low, high) = if a < b { (a, b) } else { (b, a) };
        Self(hash("direct", &[low.as_bytes(), high.as_bytes()]))
    }

    /// The id of the channel for contact requests: `H("inbox"; id ‖ token)`.
    pub fn of_inbox(owner: &IdentityId, token: &[u8; 12]) -> Self {
        Self(hash("inbox", &[owner.as_bytes(), token]))
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Shows eight digits only: the whole id has no place in a log.
impl fmt::Debug for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0[..4]))
    }
}

impl fmt::Display for RendezvousHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Shows eight digits only, like every id in a log.
impl fmt::Debug for RendezvousHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0[..4]))
    }
}

/// Shows the epoch, never a key.
impl fmt::Debug for EpochKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpochKeys")
            .field("cid", &self.cid)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl EpochKeys {
    /// Derives the keys: `K_e = HKDF-Extract(salt = cid, ikm = secret)`; the six keys are `X(K_e, name; u32 e)` with
    /// the names `tag`, `link`, `rv`, `relay`, `mail` and `lan`.
    pub fn derive(cid: ChannelId, epoch: u32, secret: &[u8; 32]) -> Self {
        let master = extract(&cid.0, &[secret]);
        let key = |name| expand_key(&master, name, &[&epoch.to_be_bytes()]);
        Self {
            cid,
            epoch,
            tag: key("tag"),
            link: key("link"),
            rendezvous: key("rv"),
            relay: key("relay"),
            mail: key("mail"),
            lan: key("lan"),
            fixed: None,
        }
    }

    /// The same keys for a channel that is always found under `hash` (`rotate` 0 in its file). Its only period has
    /// number 0 and never ends.
    #[must_use]
    pub fn with_fixed_hash(self, hash: RendezvousHash) -> Self {
        Self {
            fixed: Some(hash),
            ..self
        }
    }

    /// Whether the hash never changes.
    pub fn is_fixed(&self) -> bool {
        self.fixed.is_some()
    }

    /// The period that contains `unix` (seconds): `floor((unix + off) / 86,400)`; 0 if the hash never changes.
    pub fn period(&self, unix: u64) -> u64 {
        if self.is_fixed() {
            return 0;
        }
        unix.saturating_add(self.offset()) / PERIOD
    }

    /// The Unix second at which `period` begins; 0 for one that began before 1970.
    pub fn period_start(&self, period: u64) -> u64 {
        if self.is_fixed() {
            return 0;
        }
        period.saturating_mul(PERIOD).saturating_sub(self.offset())
    }

    /// The hash of a period: `X(k_rv, "period"; u64 p, 20)`, or the fixed one if it never changes.
    pub fn rendezvous_hash(&self, period: u64) -> RendezvousHash {
        if let Some(hash) = self.fixed {
            return hash;
        }
        let mut out = [0; 20];
        expand(
            &self.rendezvous,
            "period",
            &[&period.to_be_bytes()],
            &mut out,
        );
        RendezvousHash(out)
    }

    /// The hashes to announce at `unix`: the current one first, then a neighbour's, if the boundary
    /// to it is at most 3,600 s away, so that clocks an hour apart still meet.
    pub fn announced(&self, unix: u64) -> Vec<RendezvousHash> {
        self.announced_periods(unix)
            .map(|period| self.rendezvous_hash(period))
            .collect()
    }

    /// The periods of [`Self::announced`], in the same order.
    pub fn announced_periods(&self, unix: u64) -> impl Iterator<Item = u64> + use<> {
        let current = self.period(unix);
        let within = unix.saturating_add(self.offset()) % PERIOD;
        let neighbour = if self.is_fixed() {
            None
        } else if within < PERIOD_OVERLAP {
            current.checked_sub(1)
        } else if within >= PERIOD - PERIOD_OVERLAP {
            current.checked_add(1)
        } else {
            None
        };
        [Some(current), neighbour].into_iter().flatten()
    }

    /// The first Unix second after `unix` at which [`Self::announced`] changes: within a day, or `u64::MAX` if the
    /// hash never changes.
    pub fn next_change(&self, unix: u64) -> u64 {
        if self.is_fixed() {
            return u64::MAX;
        }
        let within = unix.saturating_add(self.offset()) % PERIOD;
        let moments = [PERIOD_OVERLAP, PERIOD - PERIOD_OVERLAP, PERIOD];
        let next = moments.into_iter().find(|moment| *moment > within);
        unix.saturating_add(next.unwrap_or(PERIOD) - within)
    }

    /// The tag of the channel in the local network for one period, in the announcements of the node that chose
    /// `salt`: `X(k_lan, "lan tag"; u64 p ‖ salt, 12)`.
    pub fn lan_tag(&self, period: u64, salt: &[u8; 8]) -> [u8; 12] {
        let mut out = [0; 12];
        let parts: [&[u8]; 2] = [&period.to_be_bytes(), salt];
        expand(&self.lan, "lan tag", &parts, &mut out);
        out
    }

    /// The key under which the channel registers at a relay for one period, and by which it ranks relays:
    /// `X(k_relay, "relay"; SHA-256(relay PeerId) ‖ u64 p)`.
    pub fn relay_registration(&self, relay_peer_id: &[u8], period: u64) -> [u8; 32] {
        use sha2::{Digest, Sha256};
        let relay: [u8; 32] = Sha256::digest(relay_peer_id).into();
        let mut out = [0; 32];
        expand(
            &self.relay,
            "relay",
            &[&relay, &period.to_be_bytes()],
            &mut out,
        );
        out
    }

    /// The time of day at which the channel's hash changes, so that not all channels change at midnight:
    /// `u32 of X(k_rv, "offset"; "", 4) mod 86,400`, in seconds.
    fn offset(&self) -> u64 {
        let mut out = [0; 4];
        expand(&self.rendezvous, "offset", &[], &mut out);
        u64::from(u32::from_be_bytes(out)) % PERIOD
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identity::IdentityKey;

    fn keys(epoch: u32, secret: u8) -> EpochKeys {
        EpochKeys::derive(ChannelId([1; 32]), epoch, &[secret; 32])
    }

    #[test]
    fn every_input_changes_every_key() {
        let all = [
            keys(0, 2),
            keys(1, 2),
            keys(0, 3),
            EpochKeys::derive(ChannelId([9; 32]), 0, &[2; 32]),
        ];
        let mut seen = std::collections::HashSet::new();
        for k in &all {
            for key in [&k.tag, &k.link, &k.rendezvous, &k.relay, &k.mail, &k.lan] {
                assert!(seen.insert(**key), "two keys are equal");
            }
        }
    }

    #[test]
    fn direct_channels_are_symmetric() {
        let a = IdentityKey::from_seed(&[1; 32]).id();
        let b = IdentityKey::from_seed(&[2; 32]).id();
        assert_eq!(ChannelId::of_direct(&a, &b), ChannelId::of_direct(&b, &a));
        assert_ne!(ChannelId::of_direct(&a, &b), ChannelId::of_direct(&a, &a));
    }

    #[test]
    fn debug_is_short_and_keeps_keys_to_itself() {
        assert_eq!(format!("{:?}", ChannelId([0xab; 32])), "abababab");
        assert_eq!(
            format!("{:?}", keys(3, 1)),
            "EpochKeys { cid: 01010101, epoch: 3, .. }"
        );
    }

    proptest! {
        #[test]
        fn a_period_starts_where_it_says(unix in 86_400u64..(1 << 40), secret: u8) {
            let keys = keys(0, secret);
            let period = keys.period(unix);
            let start = keys.period_start(period);
            prop_assert!(start <= unix && unix < start + PERIOD);
            prop_assert_eq!(keys.period(start), period);
            prop_assert_eq!(keys.period(start - 1), period - 1);
            prop_assert_eq!(keys.period_start(period + 1), start + PERIOD);
        }

        #[test]
        fn clocks_an_hour_apart_share_a_hash(unix in 86_400u64..(1 << 40), apart in 0..=PERIOD_OVERLAP, secret: u8) {
            let keys = keys(0, secret);
            let (a, b) = (keys.announced(unix), keys.announced(unix + apart));
            prop_assert!(a.iter().any(|hash| b.contains(hash)));
            prop_assert!(a.len() <= 2);
            prop_assert_eq!(a[0], keys.rendezvous_hash(keys.period(unix)));
        }

        #[test]
        fn hashes_change_when_it_is_said_and_not_before(unix in 86_400u64..(1 << 40), secret: u8) {
            let keys = keys(0, secret);
            let next = keys.next_change(unix);
            prop_assert!(unix < next && next <= unix + PERIOD);
            prop_assert_eq!(keys.announced(next - 1), keys.announced(unix));
            prop_assert_ne!(keys.announced(next), keys.announced(unix));
        }

        #[test]
        fn lan_tags_change_with_period_salt_and_channel(period: u64, salt: [u8; 8], secret: u8) {
            let tag = keys(0, secret).lan_tag(period, &salt);
            prop_assert_ne!(tag, keys(0, secret).lan_tag(period ^ 1, &salt));
            prop_assert_ne!(tag, keys(1, secret).lan_tag(period, &salt));
            let mut other = salt;
            other[7] ^= 1;
            prop_assert_ne!(tag, keys(0, secret).lan_tag(period, &other));
            prop_assert_ne!(&tag[..], &keys(0, secret).rendezvous_hash(period).0[..12]);
        }
    }

    #[test]
    fn a_fixed_hash_stays_whatever_the_clock_says() {
        let hash = RendezvousHash([7; 20]);
        let (daily, fixed) = (keys(0, 1), keys(0, 1).with_fixed_hash(hash));
        assert!(fixed.is_fixed() && !daily.is_fixed());
        let (salt, relay) = ([3; 8], b"a relay");
        // 1970, steps of half an hour around a change of the daily one, and the end of time.
        let change = daily.next_change(1_900_000_000);
        let around = (0..100).map(|n| change - 90_000 + n * 1_800);
        for unix in around.chain([0, 1, u64::MAX]) {
            assert_eq!(fixed.announced(unix), [hash]);
            assert_eq!(fixed.announced_periods(unix).collect::<Vec<_>>(), [0]);
            assert_eq!((fixed.period(unix), fixed.period_start(unix)), (0, 0));
            assert_eq!(fixed.next_change(unix), u64::MAX);
            assert_eq!(fixed.rendezvous_hash(unix), hash);
        }
        // Everything else is derived as usual.
        assert_eq!(fixed.lan_tag(0, &salt), daily.lan_tag(0, &salt));
        let registration = daily.relay_registration(relay, 0);
        assert_eq!(fixed.relay_registration(relay, 0), registration);
        assert_eq!(*fixed.tag, *daily.tag);
    }

    #[test]
    fn the_ends_of_time_do_no_harm() {
        let keys = keys(0, 1);
        assert!(!keys.announced(0).is_empty());
        assert!(!keys.announced(u64::MAX).is_empty());
        assert!(keys.next_change(u64::MAX) >= u64::MAX - 1);
        assert_eq!(keys.period_start(0), 0);
        keys.period_start(u64::MAX);
    }
}
