#![allow(clippy::unwrap_used)]

mod above;
mod hostile;

use super::*;
use crate::proto::*;

fn bytes(len: usize) -> Bytes {
    vec![7; len].into()
}

/// Encodes, decodes, and returns the error.
fn refused(kind: Kind) -> MessageError {
    decode(&encode(kind)).unwrap_err()
}

fn passes(kind: Kind) {
    let encoded = encode(kind.clone());
    assert!(encoded.len() <= MAX_MESSAGE, "{} bytes", encoded.len());
    assert_eq!(decode(&encoded), Ok(Some(kind)));
}

fn claim(floor: u64, next: u64, device: usize, head: usize) -> Kind {
    Kind::Ack(Ack {
        claims: vec![Claim {
            device: bytes(device),
            floor,
            next,
            head: bytes(head),
        }],
    })
}

fn peer() -> Peer {
    Peer {
        device: bytes(32),
        identity: bytes(32),
        peer_id: bytes(MAX_PEER_ID),
        addresses: vec![bytes(MAX_ADDRESS); MAX_ADDRESSES],
    }
}

fn linked(change: impl Fn(&mut Peer)) -> Kind {
    let mut peer = peer();
    change(&mut peer);
    Kind::Peers(Peers {
        linked: vec![peer],
        unlinked: vec![],
    })
}

fn event(event: usize, signature: usize) -> SignedEvent {
    SignedEvent {
        event: bytes(event),
        signature: bytes(signature),
    }
}

#[test]
fn messages_at_their_caps_pass() {
    passes(Kind::Hello(Hello {
        versions: vec![u32::MAX; MAX_VERSIONS],
        agent: "x".repeat(MAX_AGENT),
        listen_port: 65_535,
    }));
    passes(Kind::Peers(Peers {
        linked: vec![peer(); MAX_LINKED],
        unlinked: vec![bytes(32); MAX_UNLINKED],
    }));
    let claim = Claim {
        device: bytes(32),
        floor: SEQ_LIMIT,
        next: SEQ_LIMIT,
        head: bytes(16),
    };
    passes(Kind::Have(Have {
        claims: vec![claim.clone(); MAX_CLAIMS],
        more: true,
    }));
    passes(Kind::Ack(Ack {
        claims: vec![claim; MAX_CLAIMS],
    }));
    passes(Kind::Want(Want {
        ranges: vec![
            Range {
                device: bytes(32),
                from: SEQ_LIMIT - 1,
                to: SEQ_LIMIT
            };
            MAX_RANGES
        ],
    }));
    passes(Kind::Events(Events {
        events: vec![event(HEADER_LEN, 64); MAX_EVENTS],
        backfill: true,
    }));
    passes(Kind::Events(Events {
        events: vec![event(MAX_EVENT, 64); 2],
        backfill: false,
    }));
    passes(Kind::Ids(Ids {
        device: bytes(32),
        from: SEQ_LIMIT - 256,
        ids: vec![bytes(32); MAX_IDS],
    }));
    passes(Kind::Fork(Fork {
        a: Some(event(MAX_EVENT, 64)),
        b: Some(event(MAX_EVENT, 64)),
    }));
    let step = |step| Kind::Rekey(Rekey { step: Some(step) });
    passes(step(Step::Please(RekeyPlease {})));
    passes(step(Step::Init(RekeyInit {
        dh: bytes(32),
        kem: bytes(1_184),
    })));
    passes(step(Step::Resp(RekeyResp {
        dh: bytes(32),
        ciphertext: bytes(1_088),
        signature: bytes(64),
    })));
    passes(step(Step::Done(RekeyDone {
        signature: bytes(64),
    })));
    passes(step(Step::Go(RekeyGo {})));
    passes(Kind::Bye(Bye { reason: 99 }));
    for kind in [
        Kind::Typing(Typing {}),
        Kind::Ping(Ping { nonce: 1 }),
        Kind::Pong(Pong { nonce: u64::MAX }),
    ] {
        passes(kind);
    }
    for kind in [
        Kind::Invite(Invite {}),
        Kind::File(File {}),
        Kind::Call(Call {}),
    ] {
        passes(kind);
    }
}
