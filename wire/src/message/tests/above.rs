use super::*;

#[test]
fn one_above_a_cap_is_refused() {
    use MessageError::{BadLength, BadRange, Missing, TooMany};
    let hello = |versions: usize, agent: usize, listen_port| {
        Kind::Hello(Hello {
            versions: vec![1; versions],
            agent: "x".repeat(agent),
            listen_port,
        })
    };
    assert_eq!(
        refused(hello(17, 0, 0)),
        TooMany {
            what: "versions",
            max: 16
        }
    );
    assert_eq!(
        refused(hello(1, 65, 0)),
        BadLength {
            what: "an agent",
            len: 65
        }
    );
    assert_eq!(refused(hello(1, 0, 65_536)), BadRange("a port"));

    assert_eq!(
        refused(Kind::Peers(Peers {
            linked: vec![peer(); 129],
            unlinked: vec![]
        })),
        TooMany {
            what: "linked members",
            max: 128
        }
    );
    assert_eq!(
        refused(Kind::Peers(Peers {
            linked: vec![],
            unlinked: vec![bytes(32); 1_025]
        })),
        TooMany {
            what: "unlinked devices",
            max: 1_024
        }
    );
    assert_eq!(
        refused(Kind::Peers(Peers {
            linked: vec![],
            unlinked: vec![bytes(33)]
        })),
        BadLength {
            what: "a device",
            len: 33
        }
    );
    assert_eq!(
        refused(linked(|peer| peer.addresses.push(bytes(1)))),
        TooMany {
            what: "addresses of a member",
            max: 8
        }
    );
    assert_eq!(
        refused(linked(|peer| peer.addresses[0] = bytes(129))),
        BadLength {
            what: "an address",
            len: 129
        }
    );
    assert_eq!(
        refused(linked(|peer| peer.addresses[0] = bytes(0))),
        BadLength {
            what: "an address",
            len: 0
        }
    );
    assert_eq!(
        refused(linked(|peer| peer.device = bytes(31))),
        BadLength {
            what: "a device",
            len: 31
        }
    );
    assert_eq!(
        refused(linked(|peer| peer.identity = bytes(0))),
        BadLength {
            what: "an identity",
            len: 0
        }
    );
    assert_eq!(
        refused(linked(|peer| peer.peer_id = bytes(65))),
        BadLength {
            what: "a PeerId",
            len: 65
        }
    );

    passes(claim(0, 0, 32, 0));
    passes(claim(0, 1, 32, 16));
    passes(claim(1, 1, 32, 16));
    assert_eq!(
        refused(claim(0, 0, 31, 0)),
        BadLength {
            what: "a device",
            len: 31
        }
    );
    assert_eq!(
        refused(claim(0, 0, 32, 16)),
        BadLength {
            what: "a head",
            len: 16
        }
    );
    assert_eq!(
        refused(claim(0, 1, 32, 0)),
        BadLength {
            what: "a head",
            len: 0
        }
    );
    assert_eq!(
        refused(claim(0, 1, 32, 32)),
        BadLength {
            what: "a head",
            len: 32
        }
    );
    assert_eq!(refused(claim(2, 1, 32, 16)), BadRange("a claim"));
    assert_eq!(
        refused(claim(0, SEQ_LIMIT + 1, 32, 16)),
        BadRange("a claim")
    );
    assert_eq!(refused(claim(0, u64::MAX, 32, 16)), BadRange("a claim"));
    let claims = vec![
        Claim {
            device: bytes(32),
            floor: 0,
            next: 0,
            head: bytes(0)
        };
        1_025
    ];
    assert_eq!(
        refused(Kind::Have(Have {
            claims: claims.clone(),
            more: false
        })),
        TooMany {
            what: "claims",
            max: 1_024
        }
    );
    assert_eq!(
        refused(Kind::Ack(Ack { claims })),
        TooMany {
            what: "claims",
            max: 1_024
        }
    );

    let want = |n: usize, device: usize, from, to| {
        Kind::Want(Want {
            ranges: vec![
                Range {
                    device: bytes(device),
                    from,
                    to
                };
                n
            ],
        })
    };
    assert_eq!(
        refused(want(65, 32, 0, 1)),
        TooMany {
            what: "ranges",
            max: 64
        }
    );
    assert_eq!(
        refused(want(1, 16, 0, 1)),
        BadLength {
            what: "a device",
            len: 16
        }
    );
    assert_eq!(refused(want(1, 32, 1, 1)), BadRange("a range"));
    assert_eq!(refused(want(1, 32, 2, 1)), BadRange("a range"));
    assert_eq!(refused(want(1, 32, 1, SEQ_LIMIT + 1)), BadRange("a range"));

    let events = |n: usize, len: usize, signature: usize| {
        Kind::Events(Events {
            events: vec![event(len, signature); n],
            backfill: false,
        })
    };
    assert_eq!(
        refused(events(257, HEADER_LEN, 64)),
        TooMany {
            what: "events",
            max: 256
        }
    );
    assert_eq!(
        refused(events(1, HEADER_LEN - 1, 64)),
        BadLength {
            what: "an event",
            len: 92
        }
    );
    assert_eq!(
        refused(events(1, MAX_EVENT + 1, 64)),
        BadLength {
            what: "an event",
            len: 98_398
        }
    );
    assert_eq!(
        refused(events(1, HEADER_LEN, 63)),
        BadLength {
            what: "a signature",
            len: 63
        }
    );

    let ids = |n: usize, id: usize, from| {
        Kind::Ids(Ids {
            device: bytes(32),
            from,
            ids: vec![bytes(id); n],
        })
    };
    assert_eq!(
        refused(ids(257, 32, 0)),
        TooMany {
            what: "ids",
            max: 256
        }
    );
    assert_eq!(
        refused(ids(1, 16, 0)),
        BadLength {
            what: "an event id",
            len: 16
        }
    );
    assert_eq!(refused(ids(2, 32, SEQ_LIMIT - 1)), BadRange("ids"));
    assert_eq!(refused(ids(1, 32, u64::MAX)), BadRange("ids"));
    assert_eq!(
        refused(Kind::Ids(Ids {
            device: bytes(0),
            from: 0,
            ids: vec![]
        })),
        BadLength {
            what: "a device",
            len: 0
        }
    );
    assert_eq!(
        refused(Kind::Fork(Fork {
            a: Some(event(93, 64)),
            b: None
        })),
        Missing("an event of a fork")
    );
    assert_eq!(
        refused(Kind::Fork(Fork {
            a: Some(event(93, 64)),
            b: Some(event(93, 0))
        })),
        BadLength {
            what: "a signature",
            len: 0
        }
    );

    let step = |step| refused(Kind::Rekey(Rekey { step: Some(step) }));
    assert_eq!(
        step(Step::Init(RekeyInit {
            dh: bytes(33),
            kem: bytes(1_184)
        })),
        BadLength {
            what: "a public key",
            len: 33
        }
    );
    assert_eq!(
        step(Step::Init(RekeyInit {
            dh: bytes(32),
            kem: bytes(1_183)
        })),
        BadLength {
            what: "an encapsulation key",
            len: 1_183
        }
    );
    assert_eq!(
        step(Step::Resp(RekeyResp {
            dh: bytes(32),
            ciphertext: bytes(1),
            signature: bytes(64)
        })),
        BadLength {
            what: "a ciphertext",
            len: 1
        }
    );
    assert_eq!(
        step(Step::Resp(RekeyResp {
            dh: bytes(32),
            ciphertext: bytes(1_088),
            signature: bytes(63)
        })),
        BadLength {
            what: "a signature",
            len: 63
        }
    );
    assert_eq!(
        step(Step::Done(RekeyDone {
            signature: bytes(65)
        })),
        BadLength {
            what: "a signature",
            len: 65
        }
    );

    assert_eq!(
        decode(&vec![0; MAX_MESSAGE + 1]),
        Err(MessageError::TooLong(262_145))
    );
}
