//! quinn on tokio, with its tasks counted and ended: a stopped transport has none left, and its sockets are closed.

use std::{fmt, future::Future, io, net::UdpSocket, pin::Pin, sync::Arc, time::Instant};

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// quinn's runtime of one transport. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Counted {
    tasks: TaskTracker,
    end: CancellationToken,
}

impl Counted {
    /// Waits until quinn has nothing left to do.
    pub(crate) async fn idle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Ends what quinn still does.
    pub(crate) async fn end(&self) {
        self.end.cancel();
        self.idle().await;
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}

impl Runtime for Counted {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let end = self.end.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = task => {}
                () = end.cancelled() => {}
            }
        });
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}
