//! Concurrent dials of a punch.

use std::time::Duration;

use futures_util::{StreamExt, stream::FuturesUnordered};

use crate::transport::connection::Connection;

/// Time limit for the dials that follow an answer.
pub(crate) const DIALS: Duration = Duration::from_millis(1_800);

/// The first connection of several attempts; the others are dropped. `None` if all fail.
pub(crate) async fn first(
    ways: impl IntoIterator<Item = impl Future<Output = Option<Connection>>>,
) -> Option<Connection> {
    let mut ways = FuturesUnordered::from_iter(ways);
    while let Some(end) = ways.next().await {
        if end.is_some() {
            return end;
        }
    }
    None
}
