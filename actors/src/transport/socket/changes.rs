//! Notices that this machine has changed networks, or is back on one.
//!
//! What counts are the addresses from which packets to the rest of the world would leave. Linux reports when they may
//! have changed (rtnetlink); elsewhere there is no notification, so the owner also checks now and then
//! ([`Changes::look`]).

use std::{net::IpAddr, time::Duration};

use tokio::time::sleep;

use super::local::source_for;

/// The delay after a notification: routes follow addresses a moment later.
const SETTLE: Duration = Duration::from_millis(200);
/// Distant hosts that routes are looked up for; nothing is sent to them.
const FAR: [&str; 2] = ["198.41.0.4:53", "[2001:503:ba3e::2:30]:53"];

type Sources = [Option<IpAddr>; 2];

fn sources() -> Sources {
    FAR.map(|far| far.parse().ok().and_then(source_for))
}

/// A watch for changes of the network.
pub(crate) struct Changes {
    seen: Sources,
    #[cfg(target_os = "linux")]
    socket: Option<tokio::net::UdpSocket>,
}

impl Changes {
    /// Starts to watch. Must be called inside a tokio runtime.
    pub(crate) fn new() -> Self {
        Self {
            seen: sources(),
            #[cfg(target_os = "linux")]
            socket: netlink::open()
                .inspect_err(
                    |error| tracing::debug!(%error, "network changes will be noticed late"),
                )
                .ok(),
        }
    }

    /// Waits until packets would leave from other addresses than before, and from at least one. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        loop {
            self.hint().await;
            if self.look() {
                return;
            }
        }
    }

    /// Whether packets would leave from other addresses than at the last call, and from at least one.
    pub(crate) fn look(&mut self) -> bool {
        let now = sources();
        let changed = now != self.seen;
        self.seen = now;
        changed && now.iter().any(Option::is_some)
    }

    /// Waits until a change is likely.
    async fn hint(&mut self) {
        #[cfg(target_os = "linux")]
        if let Some(socket) = &self.socket {
            if netlink::changed(socket).await.is_err() {
                self.socket = None;
            }
            let now = sources();
            if now.iter().all(Option::is_none) {
                // A network that is gone now may be back after the delay: record both changes.
                self.seen = now;
                sleep(SETTLE).await;
            }
            return;
        }
        std::future::pending().await
    }
}

#[cfg(target_os = "linux")]
mod netlink {
    use std::io;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, netlink, socket_with};
    use tokio::net::UdpSocket;

    /// Changes of links, addresses and routes, of IPv4 and IPv6 (`rtnetlink(7)`).
    const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

    /// Opens a netlink socket. It is read like any datagram socket, so tokio's type serves.
    pub(crate) fn open() -> io::Result<UdpSocket> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // Protocol number 0 is rtnetlink.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &netlink::SocketAddrNetlink::new(0, GROUPS))?;
        UdpSocket::from_std(socket.into())
    }

    /// Waits for a notification of any kind. Cancel-safe.
    pub(crate) async fn changed(socket: &UdpSocket) -> io::Result<()> {
        match socket.recv(&mut [0; 8_192]).await {
            // More notifications than fit the buffer: something has changed for sure.
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) =>
            {
                Ok(())
            }
            end => end.map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_new_way_out_is_a_change_and_none_at_all_is_not() {
        let mut changes = Changes::new();
        let now = sources();
        changes.seen = now;
        assert!(!changes.look(), "nothing has changed");
        changes.seen = [None; 2];
        assert_eq!(changes.look(), now.iter().any(Option::is_some));
        assert_eq!(changes.seen, now);
    }
}
