//! The requests to the router, made by crates that implement the formats: PCP and NAT-PMP by crab_nat, from sockets that
//! accept datagrams of the router alone; UPnP by igd-next, which reads at most a mebibyte and follows no address but
//! that of the responding device.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU16,
    time::Duration,
};

use crab_nat::{
    GatewayAddress, InternetProtocol, PortMapping, PortMappingOptions, PortMappingType,
    TimeoutConfig, natpmp, pcp,
};
use igd_next::{
    AddPortError, PortMappingProtocol, SearchOptions,
    aio::{Gateway, tokio::Tokio},
};
use rand::RngExt;

use super::{Protocol, plan::LIFETIME};
use crate::transport::network::is_local;

/// How a datagram to the router is repeated. It is one hop away, so that the first pause of RFC 6886 (250 ms) is plenty;
/// the retries go on for almost 8 s, since routers can be busy.
const PATIENCE: TimeoutConfig = TimeoutConfig {
    initial_timeout: Duration::from_millis(250),
    max_retries: 5,
    max_retry_timeout: Some(Duration::from_secs(2)),
};
/// How a datagram is repeated at a stop.
const FAREWELL: TimeoutConfig = TimeoutConfig {
    initial_timeout: Duration::from_millis(250),
    max_retries: 1,
    max_retry_timeout: None,
};
/// How long UPnP devices may take to answer a search, and to describe themselves.
const SEARCH: Duration = Duration::from_secs(4);
/// External ports to try over UPnP, one request each: the node's own, and others if that is taken.
const PORTS: usize = 4;
/// The other ports are drawn from here on.
const FIRST_PORT: u16 = 20_000;

/// The mapping to ask for.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) local: Ipv4Addr,
    pub(super) port: NonZeroU16,
    /// The external port: an earlier mapping's, otherwise the same as the internal one.
    pub(super) outer: NonZeroU16,
    pub(super) gateway: Option<Ipv4Addr>,
    /// Identifies this node in PCP.
    pub(super) nonce: pcp::Nonce,
    pub(super) description: String,
}

/// A mapping that the router has created.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) protocol: Protocol,
    pub(super) external: SocketAddr,
    pub(super) tcp: bool,
    /// Zero means without an end.
    pub(super) lifetime: Duration,
    pub(super) held: Held,
}

/// What it takes to renew and to remove a mapping.
#[derive(Clone, Debug)]
pub(super) enum Held {
    /// PCP or NAT-PMP.
    Pmp {
        udp: Box<PortMapping>,
        tcp: Option<Box<PortMapping>>,
    },
    Upnp {
        gateway: Box<Gateway<Tokio>>,
        port: u16,
        tcp: bool,
    },
}

/// Asks over each protocol in turn. If all fail, returns the reason of each, in plain language.
pub(super) async fn ask(wish: &Wish) -> Result<Granted, String> {
    let mut reasons = Vec::new();
    if let Some(gateway) = wish.gateway {
        for protocol in [Protocol::Pcp, Protocol::NatPmp] {
            match pmp(protocol, gateway, wish).await {
                Ok(granted) => return public(granted).await,
                Err(why) => reasons.push(format!("{protocol}: {why}")),
            }
        }
    } else {
        reasons.push("the system knows no router".to_owned());
    }
    match upnp(wish).await {
        Ok(granted) => public(granted).await,
        Err(why) => {
            reasons.push(format!("UPnP: {why}"));
            Err(reasons.join("; "))
        }
    }
}

/// Renews a mapping, over the same protocol and with the same port.
pub(super) async fn renew(held: Held, wish: &Wish) -> Result<Granted, String> {
    match held {
        Held::Pmp { udp, .. } => {
            let (protocol, gateway) = match udp.mapping_type() {
                PortMappingType::NatPmp => (Protocol::NatPmp, udp.gateway()),
                PortMappingType::Pcp { .. } => (Protocol::Pcp, udp.gateway()),
            };
            let GatewayAddress::IpV4(gateway) = gateway else {
                return Err("it has no IPv4 address".to_owned());
            };
            let wish = Wish {
                outer: udp.external_port(),
                ..wish.clone()
            };
            public(pmp(protocol, gateway, &wish).await?).await
        }
        Held::Upnp { gateway, port, .. } => {
            public(by_upnp(*gateway, Some(port), wish).await?).await
        }
    }
}

/// Removes a mapping, if the router complies.
pub(super) async fn remove(held: Held) {
    match held {
        Held::Pmp { udp, tcp } => {
            let drop = async |mapping: Option<Box<PortMapping>>| {
                let Some(mut mapping) = mapping else { return };
                mapping.timeout_config = FAREWELL;
                if let Err((error, _)) = mapping.try_drop().await {
                    tracing::debug!(%error, "the router keeps a mapping until it ends");
                }
            };
            tokio::join!(drop(Some(udp)), drop(tcp));
        }
        Held::Upnp { gateway, port, tcp } => {
            let drop = async |protocol, is_there| {
                if is_there && let Err(error) = gateway.remove_port(protocol, port).await {
                    tracing::debug!(%error, "the router keeps a mapping until it ends");
                }
            };
            tokio::join!(
                drop(PortMappingProtocol::UDP, true),
                drop(PortMappingProtocol::TCP, tcp)
            );
        }
    }
}

/// Rejects a mapping whose external address lies on a local network, where the world cannot reach it: there is another
/// router in front.
async fn public(granted: Granted) -> Result<Granted, String> {
    let ip = granted.external.ip();
    if !is_local(ip) {
        return Ok(granted);
    }
    remove(granted.held).await;
    Err(if ip.is_unspecified() {
        "the router has no external address".to_owned()
    } else {
        format!(
            "the router is behind another one: its external address is {ip}, which the internet cannot reach"
        )
    })
}

async fn pmp(protocol: Protocol, gateway: Ipv4Addr, wish: &Wish) -> Result<Granted, String> {
    let external = match protocol {
        Protocol::NatPmp => {
            let ip = natpmp::external_address(gateway.into(), Some(PATIENCE)).await;
            Some(ip.map_err(|error| describe_natpmp(&error))?)
        }
        _ => None,
    };
    let map = async |transport: InternetProtocol, outer: NonZeroU16| {
        let options = PortMappingOptions {
            external_port: Some(outer),
            lifetime_seconds: u32::try_from(LIFETIME.as_secs()).ok(),
            timeout_config: Some(PATIENCE),
        };
        if protocol == Protocol::NatPmp {
            return natpmp::port_mapping(gateway.into(), transport, wish.port, options)
                .await
                .map_err(|error| describe_natpmp(&error));
        }
        let client = wish.local.into();
        let base = pcp::BaseMapRequest::new(gateway.into(), client, transport, wish.port);
        pcp::port_mapping(base, Some(wish.nonce), None, options)
            .await
            .map_err(|error| describe_pcp(&error))
    };
    let udp = map(InternetProtocol::Udp, wish.outer).await?;
    let port = udp.external_port();
    let ip = match (udp.mapping_type(), external) {
        (PortMappingType::Pcp { external_ip, .. }, _) => external_ip.to_canonical(),
        (PortMappingType::NatPmp, Some(ip)) => ip.into(),
        (PortMappingType::NatPmp, None) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    if !ip.is_ipv4() {
        return Err("it answers with an IPv6 address".to_owned());
    }
    // Peers dial one port over both; a different TCP port would be of no use to them.
    let tcp = match map(InternetProtocol::Tcp, port).await {
        Ok(tcp) if tcp.external_port() == port => Some(tcp),
        Ok(other) => {
            let held = other.try_drop().await;
            tracing::debug!(removed = held.is_ok(), "another port for TCP is of no use");
            None
        }
        Err(why) => {
            tracing::debug!(why, "the router maps no TCP");
            None
        }
    };
    let lifetime = tcp
        .as_ref()
        .map_or(u32::MAX, PortMapping::lifetime)
        .min(udp.lifetime());
    Ok(Granted {
        protocol,
        external: SocketAddr::new(ip, port.get()),
        tcp: tcp.is_some(),
        // These protocols have no endless mappings: zero is one that is gone at once.
        lifetime: Duration::from_secs(lifetime.max(1).into()),
        held: Held::Pmp {
            udp: Box::new(udp),
            tcp: tcp.map(Box::new),
        },
    })
}

async fn upnp(wish: &Wish) -> Result<Granted, String> {
    let search = async |to: SocketAddr| {
        let mut options = SearchOptions::default();
        options.bind_addr = (wish.local, 0).into();
        options.broadcast_address = to;
        options.timeout = Some(SEARCH);
        options.single_search_timeout = Some(SEARCH);
        igd_next::aio::tokio::search_gateway(options)
            .await
            .map_err(|error| match error {
                igd_next::SearchError::NoResponseWithinTimeout => "no answer".to_owned(),
                error => format!("no usable answer ({error})"),
            })
    };
    let found = search(SearchOptions::default().broadcast_address).await?;
    let is_router = |found: &Gateway<Tokio>| {
        wish.gateway
            .is_none_or(|gateway| found.addr.ip() == IpAddr::V4(gateway))
    };
    let gateway = match wish.gateway {
        // Any host of the local network may have answered; a mapping at another host leads nowhere.
        Some(router) if !is_router(&found) => {
            let found = search((router, 1900).into()).await?;
            if !is_router(&found) {
                return Err("a host other than the router answers".to_owned());
            }
            found
        }
        _ => found,
    };
    by_upnp(gateway, None, wish).await
}

/// Maps over UPnP; `port`: try that external port alone.
async fn by_upnp(
    gateway: Gateway<Tokio>,
    port: Option<u16>,
    wish: &Wish,
) -> Result<Granted, String> {
    let ip = gateway.get_external_ip().await.map_err(|error| {
        tracing::debug!(%error, "no external address");
        "the router does not report its external address".to_owned()
    })?;
    let ports: Vec<u16> = match port {
        Some(port) => vec![port],
        None => {
            let mut rng = rand::rng();
            let others = std::iter::repeat_with(|| rng.random_range(FIRST_PORT..=u16::MAX));
            std::iter::once(wish.outer.get())
                .chain(others)
                .take(PORTS)
                .collect()
        }
    };
    let mut why = "every port is taken".to_owned();
    let mut lifetime = LIFETIME;
    for port in ports {
        let mut end = add(&gateway, PortMappingProtocol::UDP, port, lifetime, wish).await;
        if let Err(AddPortError::OnlyPermanentLeasesSupported) = end {
            lifetime = Duration::ZERO;
            end = add(&gateway, PortMappingProtocol::UDP, port, lifetime, wish).await;
        }
        match end {
            Ok(()) => {
                let tcp = add(&gateway, PortMappingProtocol::TCP, port, lifetime, wish).await;
                if let Err(error) = &tcp {
                    tracing::debug!(%error, "the router maps no TCP");
                }
                let tcp = tcp.is_ok();
                return Ok(Granted {
                    protocol: Protocol::Upnp,
                    external: SocketAddr::new(ip, port),
                    tcp,
                    lifetime,
                    held: Held::Upnp {
                        gateway: Box::new(gateway),
                        port,
                        tcp,
                    },
                });
            }
            Err(AddPortError::PortInUse) => {}
            Err(AddPortError::ActionNotAuthorized) => return Err("it refuses".to_owned()),
            Err(error) => {
                tracing::debug!(%error, port, "no mapping");
                why = "it fails to map the port".to_owned();
            }
        }
    }
    Err(why)
}

async fn add(
    gateway: &Gateway<Tokio>,
    transport: PortMappingProtocol,
    port: u16,
    lifetime: Duration,
    wish: &Wish,
) -> Result<(), AddPortError> {
    let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
    let local = SocketAddr::new(wish.local.into(), wish.port.get());
    gateway
        .add_port(transport, port, local, seconds, &wish.description)
        .await
}

fn describe_pcp(error: &pcp::Failure) -> String {
    use pcp::Failure as F;
    match error {
        F::Timeout => "no answer".to_owned(),
        F::Socket(error) => describe_socket(error),
        F::UnsupportedVersion(_) => "not supported".to_owned(),
        F::NotAuthorized(_) => "it refuses".to_owned(),
        other => {
            tracing::debug!(error = %other, "no mapping over PCP");
            "it fails to map the port".to_owned()
        }
    }
}

fn describe_natpmp(error: &natpmp::Failure) -> String {
    use natpmp::Failure as F;
    match error {
        F::Timeout => "no answer".to_owned(),
        F::Socket(error) => describe_socket(error),
        F::UnsupportedVersion(_) => "not supported".to_owned(),
        F::NotAuthorized => "it refuses".to_owned(),
        other => {
            tracing::debug!(error = %other, "no mapping over NAT-PMP");
            "it fails to map the port".to_owned()
        }
    }
}

/// A refused connection means that the router does not support the protocol.
fn describe_socket(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "not supported".to_owned(),
        _ => format!("cannot be asked ({error})"),
    }
}

#[cfg(test)]
mod tests;
