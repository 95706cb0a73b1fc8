//! quinn's runtime on tokio, with tasks that are tracked and ended: a stopped transport has none left, and its sockets
//! are closed.

use std::{fmt, future::Future, io, net::UdpSocket, pin::Pin, sync::Arc, time::Instant};

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The quinn runtime of one transport. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct TrackedRuntime {
    tasks: TaskTracker,
    end: CancellationToken,
}

impl TrackedRuntime {
    /// Waits until quinn has finished all tasks.
    pub(crate) async fn idle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Ends the tasks that quinn still runs.
    pub(crate) async fn end(&self) {
        self.end.cancel();
        self.idle().await;
    }
}

impl fmt::Debug for TrackedRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TrackedRuntime")
    }
}

impl Runtime for TrackedRuntime {
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
