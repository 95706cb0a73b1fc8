#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

fn bytes(text: &str) -> Vec<u8> {
    text.parse::<Multiaddr>().unwrap().to_vec()
}

#[test]
fn the_bytes_are_those_of_the_multiaddr_text() {
    let v4 = "192.0.2.7:4001".parse().unwrap();
    assert_eq!(to_multiaddr(v4), bytes("/ip4/192.0.2.7/udp/4001/quic-v1"));
    let v6 = "[2001:db8::1]:65535".parse().unwrap();
    assert_eq!(
        to_multiaddr(v6),
        bytes("/ip6/2001:db8::1/udp/65535/quic-v1")
    );
    let mapped = "[::ffff:192.0.2.7]:4001".parse().unwrap();
    assert_eq!(to_multiaddr(mapped), to_multiaddr(v4));
}

#[test]
fn observed_addresses_tell_their_path() {
    for text in ["192.0.2.7:4001", "[2001:db8::1]:9"] {
        for path in [PathKind::Quic, PathKind::Tcp] {
            let address = text.parse().unwrap();
            let bytes = observed(address, path);
            assert_eq!(from_observed(&bytes), Some((address, path)));
        }
    }
    assert_eq!(
        observed("192.0.2.7:4001".parse().unwrap(), PathKind::Tcp),
        bytes("/ip4/192.0.2.7/tcp/4001")
    );
    for text in [
        "/ip4/192.0.2.7/tcp/4001/ws",
        "/ip4/0.0.0.0/tcp/1",
        "/tcp/4001",
    ] {
        assert_eq!(from_observed(&bytes(text)), None);
    }
    assert_eq!(from_observed(&[]), None);
}

#[test]
fn other_multiaddrs_are_refused() {
    for text in [
        "/ip4/192.0.2.7",
        "/ip4/192.0.2.7/udp/4001",
        "/ip4/192.0.2.7/udp/4001/quic",
        "/ip4/192.0.2.7/tcp/4001",
        "/ip4/192.0.2.7/udp/4001/quic-v1/p2p-circuit",
        "/ip4/192.0.2.7/udp/0/quic-v1",
        "/ip4/0.0.0.0/udp/4001/quic-v1",
        "/ip4/255.255.255.255/udp/4001/quic-v1",
        "/ip4/224.0.0.1/udp/4001/quic-v1",
        "/ip6/::/udp/4001/quic-v1",
        "/ip6/ff02::1/udp/4001/quic-v1",
        "/ip6/::ffff:192.0.2.7/udp/4001/quic-v1",
        "/dns4/example.org/udp/4001/quic-v1",
    ] {
        assert_eq!(from_multiaddr(&bytes(text)), None, "{text}");
    }
    assert_eq!(from_multiaddr(&[]), None);
    assert_eq!(from_multiaddr(&[4; 4_096]), None);
}

proptest! {
    #[test]
    fn every_dialable_address_survives(ip: IpAddr, port: u16, scope: u32) {
        let address = SocketAddr::new(ip.to_canonical(), port);
        let read = from_multiaddr(&to_multiaddr(address));
        prop_assert_eq!(read, is_dialable(address).then_some(address));
        let _ = scope;
    }

    #[test]
    fn no_bytes_panic_and_what_is_read_is_written_back(junk in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Some(address) = from_multiaddr(&junk) {
            prop_assert_eq!(to_multiaddr(address), junk);
        }
    }

    #[test]
    fn a_flipped_byte_never_reads_as_a_second_spelling(ip: IpAddr, port: u16, at in 0_usize..32, by in 1_u8..) {
        let mut damaged = to_multiaddr(SocketAddr::new(ip, port));
        let at = at % damaged.len();
        damaged[at] ^= by;
        if let Some(address) = from_multiaddr(&damaged) {
            prop_assert_eq!(to_multiaddr(address), damaged);
        }
    }
}
