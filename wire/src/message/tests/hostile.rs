use super::*;

#[test]
fn additions_of_later_versions_are_ignored() {
    for unknown in [
        &[][..],
        &[0x8a, 0x01, 2, 0xff, 0xff],
        &[0xf8, 0x07, 5],
        &[0x4a, 0],
        &[0x4a, 2, 0x7a, 0],
    ] {
        assert_eq!(decode(unknown), Ok(None), "{unknown:?}");
    }
    // an unknown field beside a known kind, and within one
    let ping = Ok(Some(Kind::Ping(Ping { nonce: 5 })));
    assert_eq!(decode(&[0x42, 2, 0x08, 5, 0xf8, 0x07, 5]), ping);
    assert_eq!(decode(&[0x42, 5, 0x08, 5, 0xf8, 0x07, 5]), ping);
}

#[test]
fn malformed_messages_are_refused() {
    for bad in [
        &[0x42][..],
        &[0x42, 5, 1],
        &[0x0b],
        &[0x0c],
        &[0x42, 1, 0x0a],
        &[0x40, 1],
        &[0x0a, 3, 0x12, 1, 0xff],
        &[0xff; 16],
        &[0x09, 1],
    ] {
        assert_eq!(decode(bad), Err(MessageError::Malformed), "{bad:?}");
    }
}

/// A field with this number and these bytes.
fn field(number: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encoding::encode_varint(body.len() as u64, &mut out);
    out.extend_from_slice(body);
    out
}

#[test]
fn floods_of_empty_fields_cost_nothing() {
    let flood = |max| {
        Err(MessageError::TooMany {
            what: "fields",
            max,
        })
    };
    // elements of `linked`, split over as many `peers` as well
    assert_eq!(
        decode(&field(2, &field(1, &[]).repeat(100_000))),
        flood(2_048)
    );
    assert_eq!(
        decode(&field(2, &field(1, &[]).repeat(1_000)).repeat(3)),
        flood(2_048)
    );
    assert_eq!(decode(&field(2, &[]).repeat(100_000)), flood(16));
    assert_eq!(
        decode(&field(2, &field(1, &field(4, &[]).repeat(100_000)))),
        flood(32)
    );
    for kind in [3, 4, 5, 6, 14] {
        assert_eq!(
            decode(&field(kind, &field(1, &[]).repeat(100_000))),
            flood(2_048),
            "kind {kind}"
        );
    }
    assert_eq!(
        decode(&field(1, &field(1, &vec![1; 200_000]))),
        Err(MessageError::TooMany {
            what: "versions",
            max: 16
        })
    );
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let _ = decode(&bytes);
        let _ = crate::control::decode(&bytes);
    }

    #[test]
    fn no_mutation_passes_a_cap(at in 0usize..2_000, to in 0u8..=255) {
        let kind = Kind::Peers(Peers { linked: vec![peer(); 2], unlinked: vec![bytes(32); 2] });
        let mut encoded = encode(kind);
        let at = at % encoded.len();
        encoded[at] = to;
        if let Ok(Some(Kind::Peers(peers))) = decode(&encoded) {
            proptest::prop_assert!(check_peers(&peers).is_ok());
        }
    }
}
