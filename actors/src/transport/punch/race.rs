//! Several dials of a punch at once.

use std::time::Duration;

use futures_util::{StreamExt, stream::FuturesUnordered};

use crate::transport::connection::Connection;

/// How long the dials may take that follow.
pub(crate) const DIALS: Duration = Duration::from_millis(1_800);

/// The first that comes of several ways; the others are given up.
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
