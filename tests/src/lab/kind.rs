//! The kinds of NAT, firewall and proxy between a host and the public network.

use std::fmt;

/// A kind of access to the public network. Every router drops new packets that arrive at its outer address for itself:
/// otherwise an early probe would make Linux choose another port for the host's mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// None of these: the host has a public address.
    Open,
    /// A NAT that keeps ports, and lets UDP in from anywhere.
    FullCone,
    /// A NAT that keeps ports, and lets in only answers, as Linux does.
    PortRestricted,
    /// A NAT that maps each inner port to another outer one, the same for all targets ([`OWN_PORT_OFFSET`] above it), and
    /// lets in only answers.
    OwnPorts,
    /// A NAT with a random port for every target.
    Symmetric,
    /// A NAT that drops all UDP; for TCP it keeps ports and lets in only answers.
    UdpBlocked,
    /// A NAT that drops all UDP, with a random port for every TCP target.
    BlockedSymmetric,
    /// An HTTP proxy is the only way out.
    HttpProxy,
    /// A SOCKS5 proxy is the only way out.
    Socks5,
}

/// Difference between outer and inner ports of [`Kind::OwnPorts`].
pub const OWN_PORT_OFFSET: u16 = 20_000;

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Open => "open",
            Self::FullCone => "full cone",
            Self::PortRestricted => "port-restricted",
            Self::OwnPorts => "own ports",
            Self::Symmetric => "symmetric",
            Self::UdpBlocked => "UDP blocked",
            Self::BlockedSymmetric => "no UDP symmetric",
            Self::HttpProxy => "HTTP proxy",
            Self::Socks5 => "SOCKS5",
        })
    }
}

impl Kind {
    /// Whether a proxy is the only way out.
    pub fn is_proxy(self) -> bool {
        matches!(self, Self::HttpProxy | Self::Socks5)
    }

    /// The nft rules of the router, whose outer interface is `wan`, for a host with that address and port.
    pub(super) fn rules(self, host: &str, port: u16) -> String {
        let out = match self {
            Self::Symmetric | Self::BlockedSymmetric => {
                "oifname \"wan\" masquerade random,fully-random;".to_owned()
            }
            Self::OwnPorts => {
                let outer = port + OWN_PORT_OFFSET;
                format!(
                    "oifname \"wan\" udp sport {port} masquerade to :{outer}; oifname \"wan\" masquerade;"
                )
            }
            _ => "oifname \"wan\" masquerade;".to_owned(),
        };
        let enters = match self {
            Self::FullCone => format!("iifname \"wan\" meta l4proto udp dnat to {host};"),
            _ => String::new(),
        };
        let forward = match self {
            Self::UdpBlocked | Self::BlockedSymmetric => "meta l4proto udp drop;",
            Self::HttpProxy | Self::Socks5 => "drop;",
            _ => "",
        };
        format!(
            "table ip nat {{
                chain out {{ type nat hook postrouting priority 100; {out} }}
                chain enters {{ type nat hook prerouting priority -100; {enters} }}
            }}
            table ip filter {{
                chain input {{ type filter hook input priority 0; iifname \"wan\" ct state new drop; }}
                chain forward {{ type filter hook forward priority 0; {forward}
                    iifname \"wan\" ct state new ct status & dnat == 0 drop; }}
            }}\n"
        )
    }
}
