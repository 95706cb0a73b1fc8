//! Keeps the port announced to trackers and the DHT equal to the one that peers see.

use std::{net::SocketAddr, time::Duration};

use crate::{dht::Dht, tracker::Trackers, transport::Transport};

/// How often the DHT is asked for the address at which its nodes see this one: at the beginning, and later.
const ASK_SOON: Duration = Duration::from_secs(5);
const ASK: Duration = Duration::from_secs(60);
/// How many times `ASK_SOON` applies.
const SOON: u32 = 24;

/// Follows the outer port, and feeds the DHT's observations to the transport. Never ends. Cancel-safe.
pub(super) async fn follow(transport: Transport, trackers: Trackers, dht: Option<Dht>) {
    let mut outer = transport.outer_port();
    let announced = async {
        while outer.changed().await.is_ok() {
            let port = outer.borrow_and_update().unwrap_or(transport.port());
            tracing::info!(port, "the announced port has changed");
            trackers.set_port(port).await;
            if let Some(dht) = &dht {
                dht.set_port(port).await;
            }
        }
    };
    let votes = async {
        let Some(dht) = &dht else { return };
        for asked in 0_u32.. {
            let pause = if asked < SOON { ASK_SOON } else { ASK };
            tokio::time::sleep(pause).await;
            let Some(status) = dht.status().await else {
                return;
            };
            let sides = [status.v4, status.v6].into_iter().flatten();
            let seen = sides.filter_map(|side| side.external);
            seen.for_each(|at: SocketAddr| transport.dht_sees(at));
        }
    };
    tokio::join!(announced, votes);
}
