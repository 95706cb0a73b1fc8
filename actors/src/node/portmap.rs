//! Decides whether the router is asked to forward the port.

use std::net::SocketAddr;

use zeroize::Zeroizing;

use crate::{
    disguise::Disguise,
    kit::Scope,
    portmap::{Portmap, PortmapConfig, PortmapStatus},
    transport::Transport,
};

/// The mapper, or the reason why there is none.
pub(super) struct Router(Result<Portmap, &'static str>);

impl Router {
    pub(super) fn start(
        wanted: bool,
        transport: &Transport,
        disguise: Disguise,
        key: Zeroizing<[u8; 64]>,
        scope: &Scope,
    ) -> Self {
        let listening = transport.local_addresses();
        let outside = |at: &&SocketAddr| at.is_ipv4() && !at.ip().is_loopback();
        Self(if transport.proxy().is_some() {
            // Nothing may bypass the proxy, and nobody could connect.
            Err("all goes through a proxy")
        } else if transport.paths().is_hidden() {
            Err("the node hides its address (setting paths)")
        } else if !wanted {
            Err("switched off (`--no-portmap`, or the setting portmap)")
        } else if listening.iter().find(outside).is_none() {
            Err("the node listens only on this machine, or not on IPv4")
        } else {
            let config = PortmapConfig {
                bind: listening.iter().map(SocketAddr::ip).collect(),
                port: transport.port(),
                description: disguise.mapping(transport.port()),
                key,
            };
            Ok(Portmap::start(config, transport.clone(), scope))
        })
    }

    pub(super) fn status(&self) -> PortmapStatus {
        match &self.0 {
            Ok(portmap) => portmap.status(),
            Err(why) => PortmapStatus::Off((*why).to_owned()),
        }
    }

    /// The mapper, to be notified of changes of the network.
    pub(super) fn portmap(&self) -> Option<Portmap> {
        self.0.as_ref().ok().cloned()
    }
}
