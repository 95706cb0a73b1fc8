//! Notices that this machine is on another network than before, or back on one.
//!
//! What counts is from which addresses packets to the rest of the world would leave. Linux says when that may have
//! changed (rtnetlink); whoever watches looks now and then besides ([`Changes::look`]), as there is no word elsewhere.

use std::{net::IpAddr, time::Duration};

use tokio::time::sleep;

use super::local::source_for;

/// After a word of the system: routes follow addresses a moment later.
const SETTLE: Duration = Duration::from_millis(200);
/// Hosts on the other side of every border; nothing is sent to them.
const FAR: [&str; 2] = ["198.41.0.4:53", "[2001:503:ba3e::2:30]:53"];

type Sources = [Option<IpAddr>; 2];

fn sources() -> Sources {
    FAR.map(|far| far.parse().ok().and_then(source_for))
}

/// The watch.
pub(crate) struct Changes {
    seen: Sources,
    #[cfg(target_os = "linux")]
    socket: Option<tokio::net::UdpSocket>,
}

impl Changes {
    /// Begins to watch. Must be called inside tokio.
    pub(crate) fn new() -> Self {
        Self {
            seen: sources(),
            #[cfg(target_os = "linux")]
            socket: netlink::open()
                .inspect_err(
                    |error| tracing::debug!(%error, "changes of the network are noticed late"),
                )
                .ok(),
        }
    }

    /// Waits until the system says that there is another way out than before, and at least one. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        loop {
            self.hint().await;
            if self.look() {
                return;
            }
        }
    }

    /// Whether there is another way out than before, and at least one.
    pub(crate) fn look(&mut self) -> bool {
        let now = sources();
        let changed = now != self.seen;
        self.seen = now;
        changed && now.iter().any(Option::is_some)
    }

    /// Waits until it is worth looking.
    async fn hint(&mut self) {
        #[cfg(target_os = "linux")]
        if let Some(socket) = &self.socket {
            if netlink::told(socket).await.is_err() {
                self.socket = None;
            }
            let now = sources();
            if now.iter().all(Option::is_none) {
                // What is gone now may be back when we look: both are to be seen.
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

    /// A datagram socket like any other, as far as reading goes: so tokio has a type for it.
    pub(crate) fn open() -> io::Result<UdpSocket> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // The protocol of number 0 is rtnetlink.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &netlink::SocketAddrNetlink::new(0, GROUPS))?;
        UdpSocket::from_std(socket.into())
    }

    /// Waits for a word, whatever it says. Cancel-safe.
    pub(crate) async fn told(socket: &UdpSocket) -> io::Result<()> {
        match socket.recv(&mut [0; 8_192]).await {
            // More was said than there was room for: something has changed for sure.
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
