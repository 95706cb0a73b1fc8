//! `keys.json`: channel ids, epoch keys, rendezvous hashes and tags.

use bitchat_wire::{
    channel::{ChannelId, EpochKeys, LOBBY_EPOCH},
    identity::IdentityKey,
    link::{Binding, TlsSide, link_tag},
};
use serde_json::{Value, json};

use super::{
    check, fill,
    reference::{cat, extract, h, hmac, sha256, x},
};

const RELAY: &[u8] = b"\x00\x24\x08\x01\x12\x20a relay's PeerId, as its bytes..";

fn epoch(cid: ChannelId, epoch: u32, secret: [u8; 32]) -> Value {
    let keys = EpochKeys::derive(cid, epoch, &secret);
    let master = extract(&cid.0, &secret);
    let named = |name| x(&master, name, &epoch.to_be_bytes());
    assert_eq!(*keys.tag, named("tag"));
    assert_eq!(*keys.link, named("link"));
    assert_eq!(*keys.rendezvous, named("rv"));
    assert_eq!(*keys.relay, named("relay"));
    assert_eq!(*keys.mail, named("mail"));
    assert_eq!(*keys.lan, named("lan"));

    let offset = &x(&*keys.rendezvous, "offset", b"")[..4];
    let offset = u64::from(u32::from_be_bytes(offset.try_into().unwrap())) % 86_400;
    let start = 20_000 * 86_400 - offset;
    assert_eq!(keys.period_start(20_000), start);
    let moments: Vec<Value> = [0, 3_599, 3_600, 43_200, 82_799, 82_800, 86_399]
        .iter()
        .map(|after| {
            let unix = start + after;
            assert_eq!(keys.period(unix), (unix + offset) / 86_400);
            let announced: Vec<String> =
                keys.announced(unix).iter().map(|h| h.to_string()).collect();
            json!({"unix": unix, "period": keys.period(unix), "announced": announced})
        })
        .collect();
    let hashes: Vec<Value> = (19_999..=20_001u64)
        .map(|period| {
            let hash = keys.rendezvous_hash(period);
            assert_eq!(
                hash.0,
                x(&*keys.rendezvous, "period", &period.to_be_bytes())[..20]
            );
            json!({"period": period, "hash": hash.to_string()})
        })
        .collect();
    let registration = keys.relay_registration(RELAY, 20_000);
    assert_eq!(
        registration,
        x(
            &*keys.relay,
            "relay",
            &cat(&[&sha256(RELAY), &20_000u64.to_be_bytes()])
        )
    );

    let salt = [0x5a; 8];
    let lan_tag = keys.lan_tag(20_000, &salt);
    assert_eq!(
        lan_tag,
        x(
            &*keys.lan,
            "lan tag",
            &cat(&[&20_000u64.to_be_bytes(), &salt])
        )[..12]
    );

    let binding = Binding(fill(0xb1));
    let tags: Vec<String> = [(TlsSide::Client, 0), (TlsSide::Server, 1)]
        .iter()
        .map(|(side, byte)| {
            let tag = link_tag(&keys, &binding, *side);
            assert_eq!(tag, hmac(&*keys.tag, &cat(&[&binding.0, &[*byte]])));
            hex::encode(tag)
        })
        .collect();
    json!({
        "cid": cid.to_string(),
        "epoch": epoch,
        "secret": hex::encode(secret),
        "K": hex::encode(master),
        "k_tag": hex::encode(*keys.tag),
        "k_link": hex::encode(*keys.link),
        "k_rv": hex::encode(*keys.rendezvous),
        "k_relay": hex::encode(*keys.relay),
        "k_mail": hex::encode(*keys.mail),
        "k_lan": hex::encode(*keys.lan),
        "off": offset,
        "period_20000_starts": start,
        "rendezvous": hashes,
        "moments": moments,
        "relay": {
            "peer_id": hex::encode(RELAY), "period": 20_000,
            "registration": hex::encode(registration),
        },
        "lan": {"salt": hex::encode(salt), "period": 20_000, "tag": hex::encode(lan_tag)},
        "tags": {"binding": hex::encode(binding.0), "s0": tags[0], "s1": tags[1]},
    })
}

#[test]
fn keys_json() {
    let alice = IdentityKey::from_seed(&fill(1));
    let bob = IdentityKey::from_seed(&fill(3));
    let (low, high) = if alice.id() < bob.id() {
        (alice.id(), bob.id())
    } else {
        (bob.id(), alice.id())
    };
    let token = [0x77; 12];
    let info = b"d4:name7:examplee";
    let cid = ChannelId::of_info(info);
    let group = ChannelId::of_group(b"a genesis");
    let direct = ChannelId::of_direct(&alice.id(), &bob.id());
    let inbox = ChannelId::of_inbox(&alice.id(), &token);
    assert_eq!(cid.0, h("channel", info));
    assert_eq!(group.0, h("group", b"a genesis"));
    assert_eq!(
        direct.0,
        h("direct", &cat(&[low.as_bytes(), high.as_bytes()]))
    );
    assert_eq!(inbox.0, h("inbox", &cat(&[alice.id().as_bytes(), &token])));
    check(
        "keys.json",
        &json!({
            "about": "Channel ids by kind; then the keys of epochs, the periods and hashes that follow, and handshake tags \
                      for s = 0 (the initiator is the TLS client) and s = 1.",
            "channel_ids": {
                "channel": {"info": hex::encode(info), "cid": cid.to_string()},
                "group": {"genesis": hex::encode(b"a genesis"), "cid": group.to_string()},
                "direct": {
                    "lower": hex::encode(low.as_bytes()), "higher": hex::encode(high.as_bytes()),
                    "cid": direct.to_string(),
                },
                "inbox": {
                    "id": hex::encode(alice.id().as_bytes()), "token": hex::encode(token),
                    "cid": inbox.to_string(),
                },
            },
            "epochs": [
                epoch(cid, 0, fill(0x10)),
                epoch(cid, 1, fill(0x11)),
                epoch(cid, LOBBY_EPOCH, fill(0x10)),
            ],
        }),
    );
}
