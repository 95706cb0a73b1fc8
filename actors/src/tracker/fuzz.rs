//! Fuzz targets for the decoders of trackers' answers (see [`crate::fuzz`]).

use std::{net::SocketAddr, time::Instant};

use rand::{SeedableRng, rngs::StdRng};

use super::{
    reply::{self, Answer, MAX_PEERS},
    udp::{Body, Effect, Machine},
};

/// The length of the header that all datagrams have.
const HEADER: usize = 8;

fn check(answer: &Answer) {
    assert!(answer.peers.len() <= MAX_PEERS);
    assert!(answer.peers.iter().all(|peer| peer.port() != 0));
    let texts = [&answer.warning].into_iter().flatten();
    assert!(
        texts
            .into_iter()
            .all(|text| !text.contains(char::is_control))
    );
}

pub(crate) fn reply(data: &[u8]) {
    match reply::parse(data) {
        Ok(answer) => check(&answer),
        Err(error) => assert!(!error.to_string().contains(char::is_control)),
    }
}

/// `data` is a sequence of datagrams, each preceded by a byte with its length and origin. Correct transaction ids get
/// further into the decoder, so the machine's own are inserted.
pub(crate) fn udp(mut data: &[u8]) {
    let hosts: [SocketAddr; 2] = [
        ([192, 0, 2, 1], 80).into(),
        ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 80).into(),
    ];
    let (mut machine, mut rng, now) =
        (Machine::default(), StdRng::seed_from_u64(1), Instant::now());
    let (mut asked, mut ended) = (0_u64, 0_u64);
    let mut transactions = [[0; 4]; 2];
    while let Some((&first, rest)) = data.split_first() {
        let (host, length) = (usize::from(first & 1), usize::from(first >> 1));
        let (datagram, rest) = rest.split_at(length.min(rest.len()));
        data = rest;
        let mut effects = if first.is_multiple_of(5) {
            asked += 1;
            let body = if asked.is_multiple_of(3) {
                Body::scrape(&[[0; 20]])
            } else {
                Body::announce(vec![0; 82])
            };
            machine.announce(asked, hosts[host], body, now, &mut rng)
        } else {
            Vec::new()
        };
        let mut datagram = datagram.to_vec();
        if datagram.len() >= HEADER && !first.is_multiple_of(3) {
            datagram[4..HEADER].copy_from_slice(&transactions[host]);
        }
        effects.extend(machine.received(hosts[host], &datagram, now, &mut rng));
        for effect in effects {
            match effect {
                Effect::Send(to, packet) => {
                    // After the connection id and the action.
                    if let Some(&id) = packet.get(12..).and_then(<[u8]>::first_chunk::<4>) {
                        transactions[usize::from(to.is_ipv6())] = id;
                    }
                }
                Effect::Done(_, Ok(answer)) => {
                    ended += 1;
                    check(&answer);
                }
                Effect::Done(_, Err(_)) => ended += 1,
            }
        }
        assert!(ended <= asked, "an announce ends once");
    }
}
