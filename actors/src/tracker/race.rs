//! Asks a tracker over both address families at once.

use std::{future::Future, time::Duration};

use futures_util::future::{Either, select};
use tokio::time::timeout;

/// How much longer the slower address family is awaited once the other has answered.
const OTHER_FAMILY: Duration = Duration::from_secs(1);

/// Merges the answer of one family with that of the other, unless the other is much slower. If both fail, returns the
/// error that is not `is_unreachable`, which is the more telling one.
pub(super) async fn both_families<T, E>(
    four: impl Future<Output = Result<T, E>> + Unpin,
    six: impl Future<Output = Result<T, E>> + Unpin,
    merge: impl Fn(T, T) -> T,
    is_unreachable: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let (first, second) = match select(four, six).await {
        Either::Left((first, second)) => (first, Either::Left(second)),
        Either::Right((first, second)) => (first, Either::Right(second)),
    };
    match first {
        Ok(first) => match timeout(OTHER_FAMILY, second).await {
            Ok(Ok(second)) => Ok(merge(first, second)),
            _ => Ok(first),
        },
        // The first failure usually comes from a family that the tracker does not serve.
        Err(error) => match second.await {
            Err(other) if is_unreachable(&other) => Err(error),
            end => end,
        },
    }
}
