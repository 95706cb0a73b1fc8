//! Which addresses from which source are dialled (`docs/PROTOCOL.md`, in the DHT; `docs/SECURITY.md`, promise 10): a
//! table.
#![allow(clippy::unwrap_used)]
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bitchat_wire::channel::ChannelId;
use libp2p_identity::PeerId;
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    discovery::{
        Provenance, Sighting,
        state::{Effect, Input, State},
    },
    transport::{DialError, Relay, Target},
};

const CID: ChannelId = ChannelId([1; 32]);
const OTHER: ChannelId = ChannelId([2; 32]);

/// Public hosts.
const PUBLIC: &[&str] = &[
    "9.9.9.9:7000",
    "172.32.0.1:1",
    "100.128.0.1:65535",
    "223.255.255.254:7000",
    "[2a00::1]:7000",
    "[::ffff:9.9.9.10]:7000",
    "[64:ff9b::909:90b]:7000",
];
/// Hosts on non-public networks: loopback, private, shared, link-local, and the IPv6 forms of those.
const LOCAL: &[&str] = &[
    "127.0.0.1:7000",
    "127.0.0.2:7000",
    "10.1.2.3:7000",
    "172.16.0.1:7000",
    "172.31.255.1:7000",
    "192.168.1.1:7000",
    "100.64.0.1:7000",
    "169.254.1.1:7000",
    "[::1]:7000",
    "[fd00::1]:7000",
    "[fe80::1]:7000",
    "[fec0::1]:7000",
    "[::ffff:192.168.1.2]:7000",
    "[64:ff9b::a01:203]:7000",
    "[2002:c0a8:101::1]:7000",
];
/// Addresses at which no host can be.
const ABSURD: &[&str] = &[
    "9.9.9.9:0",
    "0.0.0.0:7000",
    "0.1.2.3:7000",
    "224.0.0.251:5353",
    "239.1.1.1:7000",
    "240.0.0.1:7000",
    "255.255.255.255:7000",
    "[::]:7000",
    "[::ffff:0.0.0.0]:7000",
    "[ff02::fb]:5353",
    "[2a00::1]:0",
];

/// A source that names an address.
#[derive(Clone, Copy, Debug)]
enum Namer {
    /// A tracker; whether it is itself on a local network.
    Tracker(bool),
    /// A member; whether it is itself on a local network.
    Member(bool),
    /// The DHT: each of its nodes was checked by the same rule before.
    Dht,
    /// A peer in the local network.
    Lan,
    /// The user.
    Hand,
    /// An earlier run, which reached a member there.
    Cache,
}

impl Namer {
    const ALL: [Self; 8] = [
        Self::Tracker(false),
        Self::Tracker(true),
        Self::Member(false),
        Self::Member(true),
        Self::Dht,
        Self::Lan,
        Self::Hand,
        Self::Cache,
    ];

    /// Whether it may name addresses on local networks.
    fn may_name_local(self) -> bool {
        !matches!(self, Self::Tracker(false) | Self::Member(false))
    }

    fn names(self, cid: ChannelId, target: Target) -> Input {
        let sighted = |source, local, target| {
            Input::Sighted(
                cid,
                Sighting {
                    peer: None,
                    addresses: vec![target],
                    source,
                    local,
                    via: None,
                },
            )
        };
        let hint = |source, local| sighted(source, local, target);
        let found = |source, local| sighted(source, local, Target::Direct(target.first()));
        match self {
            Self::Tracker(local) => {
                found(Provenance::Tracker("http://t/announce".to_owned()), local)
            }
            Self::Member(local) => hint(Provenance::Pex, local),
            // As the sources report both.
            Self::Dht => found(Provenance::Dht, true),
            Self::Lan => found(Provenance::Lan, true),
            Self::Hand => hint(Provenance::Hand, false),
            Self::Cache => Input::Cached(cid, vec![target.first()]),
        }
    }
}

struct Bench {
    state: State,
    now: Instant,
    rng: StdRng,
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self {
            state: State::new(PeerId::random()),
            now: Instant::now(),
            rng: StdRng::seed_from_u64(1),
        };
        bench.on(Input::Want(CID));
        bench.on(Input::Want(OTHER));
        bench
    }

    fn on(&mut self, event: Input) -> Vec<Effect> {
        self.state.handle(event, self.now, &mut self.rng)
    }
}

/// What is dialled when `namer` names the target to a node that knows no other address.
fn dialled(namer: Namer, target: Target) -> Vec<Target> {
    let effects = Bench::new().on(namer.names(CID, target));
    let dials = effects.into_iter().filter_map(|effect| match effect {
        Effect::Dial(target, _) => Some(target),
        _ => None,
    });
    dials.collect()
}

fn at(text: &str) -> Target {
    Target::Direct(text.parse::<SocketAddr>().unwrap())
}

#[test]
fn each_source_may_name_what_it_could_reach() {
    for namer in Namer::ALL {
        for public in PUBLIC {
            let target = at(public);
            assert_eq!(
                dialled(namer, target),
                [target.canonical()],
                "{namer:?}: {public}"
            );
        }
        for local in LOCAL {
            let target = at(local);
            let due = namer.may_name_local().then(|| target.canonical());
            let due: Vec<Target> = due.into_iter().collect();
            assert_eq!(dialled(namer, target), due, "{namer:?}: {local}");
        }
        for absurd in ABSURD {
            assert_eq!(dialled(namer, at(absurd)), [], "{namer:?}: {absurd}");
        }
    }
}

/// For a circuit the relay's address counts, since that is what is dialled.
#[test]
fn a_circuit_is_judged_by_the_address_of_its_relay() {
    let circuit = |address: &str| Target::Circuit {
        relay: Relay {
            address: address.parse().unwrap(),
            peer: PeerId::random(),
        },
        peer: PeerId::random(),
    };
    for (address, of_public, of_local) in [
        ("9.9.9.9:443", true, true),
        ("10.0.0.1:443", false, true),
        ("9.9.9.9:0", false, false),
        ("224.0.0.1:443", false, false),
    ] {
        let target = circuit(address);
        let by = |local| !dialled(Namer::Member(local), target).is_empty();
        assert_eq!((by(false), by(true)), (of_public, of_local), "{address}");
    }
}

/// An address that led to ourselves is not dialled for a minute, in all channels, in any notation, and from any source.
#[test]
fn our_own_address_is_dropped_from_any_source() {
    for namer in Namer::ALL {
        let mut bench = Bench::new();
        let own = at("9.9.9.9:7000");
        let dial = [Effect::Dial(own, None)];
        assert_eq!(bench.on(Namer::Hand.names(CID, own)), dial);
        bench.on(Input::Dialled(own, Err(DialError::Ourselves)));
        for again in [own, at("[::ffff:9.9.9.9]:7000")] {
            assert_eq!(bench.on(namer.names(CID, again)), [], "{namer:?}");
            assert_eq!(bench.on(namer.names(OTHER, again)), [], "{namer:?}");
        }
        // Addresses change hands.
        bench.now += Duration::from_secs(60);
        let effects = bench.on(namer.names(OTHER, own));
        assert!(effects.contains(&dial[0]), "{namer:?}: {effects:?}");
    }
}
