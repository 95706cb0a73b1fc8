use super::*;
use crate::{event::record::SIGNATURE_LABEL, identity::KeyCache};

#[test]
fn what_is_authored_verifies() {
    for event in [
        genesis(),
        said(&Body::text("hello").unwrap()),
        said(&[]),
        said(&[0xff; MAX_BODY]),
    ] {
        let again = Event::verify(&CID, event.raw().clone(), event.signature()).unwrap();
        assert_eq!(again, event);
        assert_eq!(
            Event::from_store(&CID, event.raw().clone(), event.signature()).unwrap(),
            event
        );
        assert_eq!(event.raw().len(), HEADER_LEN + event.body().len());
    }
    let event = said(b"x");
    assert_eq!(event.raw()[..5], [1, 0, 0, 0, 3]);
    assert_eq!(event.header().order(), (9, keys().1.id(), 1));
}

#[test]
fn every_changed_bit_is_noticed() {
    for event in [genesis(), said(&Body::text("hello").unwrap())] {
        for bit in (0..event.raw().len() * 8).step_by(3) {
            let mut raw = event.raw().to_vec();
            raw[bit / 8] ^= 1 << (bit % 8);
            assert!(
                Event::verify(&CID, raw.into(), event.signature()).is_err(),
                "bit {bit} of the event"
            );
        }
        for bit in (0..512).step_by(5) {
            let mut signature = *event.signature();
            signature[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                Event::verify(&CID, event.raw().clone(), &signature),
                Err(EventError::BadSignature),
                "bit {bit}"
            );
        }
        for len in [
            0,
            1,
            4,
            5,
            HEADER_LEN - 1,
            HEADER_LEN,
            event.raw().len() - 1,
        ] {
            assert!(
                Event::verify(&CID, event.raw().slice(..len), event.signature()).is_err(),
                "cut to {len}"
            );
        }
        assert_eq!(
            Event::verify(&CID, event.raw().clone(), &event.signature()[..63]),
            Err(EventError::BadSignature)
        );
    }
}

#[test]
fn an_event_belongs_to_one_channel() {
    let event = said(b"x");
    let other = ChannelId([8; 32]);
    assert_eq!(
        Event::verify(&other, event.raw().clone(), event.signature()),
        Err(EventError::BadSignature)
    );
    assert_ne!(EventId::of(&other, event.raw()), event.id());
}

#[test]
fn headers_out_of_range_are_refused_although_signed() {
    let (identity, device) = keys();
    let prev = genesis().id();
    let author = |seq, prev, lamport, body: &[u8]| {
        Event::author(&CID, &device, 0, seq, prev, lamport, 0, body).map(|_| ())
    };
    assert_eq!(author(1, EventId::ZERO, 1, b""), Err(EventError::BadPrev));
    assert_eq!(author(0, prev, 1, b""), Err(EventError::BadPrev));
    assert_eq!(
        author(1, prev, LAMPORT_LIMIT, b""),
        Err(EventError::BadLamport(LAMPORT_LIMIT))
    );
    assert_eq!(author(1, prev, LAMPORT_LIMIT - 1, b""), Ok(()));
    assert_eq!(
        author(1, prev, 1, &[0; MAX_BODY + 1]),
        Err(EventError::BadLength(HEADER_LEN + MAX_BODY + 1))
    );

    assert_eq!(
        author(SEQ_LIMIT, prev, 1, b""),
        Err(EventError::BadSeq(SEQ_LIMIT))
    );
    assert_eq!(author(SEQ_LIMIT - 1, prev, 1, b""), Ok(()));

    // the same, without the checks of `author`
    let sign = |raw: &[u8]| {
        let signature = device.sign(SIGNATURE_LABEL, &[&CID.0, raw]);
        Event::verify(&CID, raw.to_vec().into(), &signature).map(|_| ())
    };
    let mut raw = said(b"x").raw().to_vec();
    assert_eq!(sign(&raw), Ok(()));
    raw[0] = 2;
    assert_eq!(sign(&raw), Err(EventError::UnknownVersion(2)));
    raw[0] = 1;
    raw[5..37].fill(0xff);
    assert_eq!(sign(&raw), Err(EventError::BadDevice));

    // first events: the certificate must be there, verify, and be of this device
    let certificate = identity.certify(&device.id(), 5);
    let stranger = identity.certify(&DeviceKey::from_seed(&[9; 32]).id(), 5);
    let mut longer = genesis_body(&certificate).to_vec();
    longer.push(0);
    for body in [
        &genesis_body(&stranger)[..],
        &longer,
        &longer[..103],
        &[],
        &[0xff; GENESIS_LEN],
    ] {
        assert_eq!(
            author(0, EventId::ZERO, 1, body),
            Err(EventError::BadGenesis)
        );
    }
    let mut raw = genesis().raw().to_vec();
    raw[HEADER_LEN + 39] ^= 1; // another time in the certificate
    assert_eq!(sign(&raw), Err(EventError::BadGenesis));
}

#[test]
fn two_events_with_one_number_are_a_fork() {
    let (a, b) = (said(b"a"), said(b"b"));
    assert!(a.forks(&b) && b.forks(&a));
    assert!(!a.forks(&a.clone()), "the same event twice is none");
    assert!(!a.forks(&genesis()), "nor are two numbers");
    let other = Event::author(
        &CID,
        &DeviceKey::from_seed(&[9; 32]),
        3,
        1,
        genesis().id(),
        9,
        0,
        b"a",
    )
    .unwrap();
    assert!(!a.forks(&other), "nor two devices");
}

#[test]
fn a_cache_of_keys_changes_no_verdict() {
    let mut cache = KeyCache::default();
    let event = said(b"x");
    let mut bad_signature = *event.signature();
    bad_signature[3] ^= 1;
    // The neutral point, of order 1; an invalid key; each twice, since a failure must not create an entry.
    let mut weak = event.raw().to_vec();
    weak[5..37].fill(0);
    weak[5] = 1;
    let mut none = event.raw().to_vec();
    none[5..37].fill(0xff);
    for _ in 0..2 {
        for (raw, signature) in [
            (event.raw().clone(), *event.signature()),
            (event.raw().clone(), bad_signature),
            (weak.clone().into(), *event.signature()),
            (none.clone().into(), *event.signature()),
        ] {
            assert_eq!(
                Event::verify_with(&CID, raw.clone(), &signature, &mut cache),
                Event::verify(&CID, raw, &signature)
            );
        }
    }
    // Any number of devices passes through it.
    for n in 0..600u64 {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&n.to_be_bytes());
        let device = DeviceKey::from_seed(&seed);
        let event =
            Event::author(&CID, &device, 0, 1, EventId([1; 32]), 2, 0, &Body::leave()).unwrap();
        let raw = event.raw().clone();
        Event::verify_with(&CID, raw, event.signature(), &mut cache).unwrap();
    }
}

/// `cargo test --release -p bitchat-wire -- --ignored --nocapture events_a_second`
#[test]
#[ignore = "a measurement"]
fn events_a_second() {
    let events: Vec<Event> = (0..2_000u32).map(|n| said(&n.to_be_bytes())).collect();
    let measure = |what: &str, check: &mut dyn FnMut(&Event)| {
        let begin = std::time::Instant::now();
        events.iter().for_each(check);
        let rate = events.len() as f64 / begin.elapsed().as_secs_f64();
        println!("{what}: {rate:.0} events/s");
    };
    measure("each key checked", &mut |event| {
        Event::verify(&CID, event.raw().clone(), event.signature()).unwrap();
    });
    let mut cache = KeyCache::default();
    measure("each key cached", &mut |event| {
        Event::verify_with(&CID, event.raw().clone(), event.signature(), &mut cache).unwrap();
    });
    measure("from the store", &mut |event| {
        Event::from_store(&CID, event.raw().clone(), event.signature()).unwrap();
    });
}
