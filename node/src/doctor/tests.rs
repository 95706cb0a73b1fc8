use bitchat_actors::{
    settings::Paths,
    status::{Mapping, Protocol, ProxyStatus},
};
use bitchat_wire::identity::IdentityKey;

use super::*;

fn status() -> NodeStatus {
    NodeStatus {
        id: IdentityKey::from_seed(&[1; 32]).id(),
        name: "ann".to_owned(),
        peer_id: "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
            .parse()
            .unwrap(),
        listening: vec!["0.0.0.0:7001".parse().unwrap()],
        proxy: None,
        allowed: Paths::ALL,
        connections: 0,
        paths: Vec::new(),
        nat: [NatView::default(); 2],
        portmap: PortmapStatus::Asking,
        observed: Vec::new(),
        uptime_s: 1,
        dht: None,
        channels: Vec::new(),
        sources: Default::default(),
        disguise: Default::default(),
        deaths: Vec::new(),
    }
}

fn of<'a>(diagnosis: &'a Diagnosis, about: &str) -> &'a Finding {
    diagnosis
        .findings
        .iter()
        .find(|one| one.about == about)
        .unwrap()
}

#[test]
fn every_kind_of_nat_is_explained() {
    for (kind, health) in [
        (NatKind::Unknown, Health::Unknown),
        (NatKind::Open, Health::Works),
        (NatKind::FullCone, Health::Works),
        (NatKind::PortRestricted, Health::Limited),
        (NatKind::Symmetric, Health::Limited),
        (NatKind::UdpBlocked, Health::Fails),
    ] {
        let mut status = status();
        status.nat[0].kind = kind;
        status.nat[0].external = Some("192.0.2.1:0".parse().unwrap());
        let diagnosis = examine(&status);
        let found = of(&diagnosis, "ipv4");
        assert_eq!(found.health, health, "{kind:?}");
        assert!(found.what.contains("192.0.2.1."), "{}", found.what);
        let needs_help = !matches!(health, Health::Works);
        assert!(!needs_help || !found.advice.is_empty(), "{kind:?}");
        assert_eq!(of(&diagnosis, "ipv6").health, Health::Off);
    }
}

#[test]
fn a_hidden_node_needs_a_relay() {
    let mut status = status();
    status.allowed = Paths::RELAYED;
    let diagnosis = examine(&status);
    assert_eq!(of(&diagnosis, "hidden").health, Health::Fails);
    assert!(diagnosis.findings.iter().all(|one| one.about != "dht"));
    status.connections = 1;
    assert_eq!(of(&examine(&status), "hidden").health, Health::Works);
}

#[test]
fn the_state_of_the_router_is_explained() {
    let mut status = status();
    assert_eq!(of(&examine(&status), "router").health, Health::Unknown);
    status.portmap = PortmapStatus::Failed {
        why: "UPnP: no answer".to_owned(),
        next_try: Instant::now() + std::time::Duration::from_secs(90),
    };
    let failed = examine(&status);
    let failed = of(&failed, "router");
    assert!(
        failed.what.contains("UPnP: no answer") && failed.what.contains("2 min"),
        "{failed:?}"
    );
    assert!(!failed.advice.is_empty());
    let at = "192.0.2.1:7001".parse().unwrap();
    let mut mapping = Mapping {
        protocol: Protocol::Pcp,
        external: at,
        tcp: true,
        until: Some(Instant::now() + std::time::Duration::from_secs(3_500)),
    };
    status.portmap = PortmapStatus::Mapped(mapping);
    assert_eq!(
        of(&examine(&status), "router").health,
        Health::Limited,
        "peers see us elsewhere"
    );
    status.nat[0].mapped = Some(at);
    let works = examine(&status);
    let works = of(&works, "router");
    assert_eq!(works.health, Health::Works);
    assert!(works.what.contains("through PCP for 59 min"), "{works:?}");
    mapping.tcp = false;
    status.portmap = PortmapStatus::Mapped(mapping);
    assert!(of(&examine(&status), "router").what.contains("UDP only"));
    status.portmap = PortmapStatus::Off("switched off".to_owned());
    assert_eq!(of(&examine(&status), "router").health, Health::Off);
}

#[test]
fn behind_a_proxy_only_the_proxy_matters() {
    let mut status = status();
    status.proxy = Some(ProxyStatus {
        url: "http://p:1".to_owned(),
        trouble: Some("nobody listens there".to_owned()),
    });
    let diagnosis = examine(&status);
    assert_eq!(of(&diagnosis, "proxy").health, Health::Fails);
    assert!(diagnosis.findings.iter().all(|one| one.about != "ipv4"));
    status.deaths = vec!["dht failed".to_owned()];
    assert_eq!(of(&examine(&status), "node").what, "dht failed");
}
