//! One UDP socket for every protocol over UDP: quinn reads QUIC from it, and other datagrams go to their subscribers
//! (`docs/PROTOCOL.md`, one port).
//!
//! quinn polls the socket, with its usual batches and segmentation offload. This wrapper sorts what arrives and never
//! waits: a reader slower than the network loses datagrams, as with UDP itself, and they are counted.

use std::{
    collections::HashMap,
    fmt,
    future::poll_fn,
    io::{self, IoSliceMut},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use tokio::sync::{Notify, mpsc};

use super::demux::{Class, compact};
use crate::transport::{address::multiaddr::canonical, metrics::Metrics};

/// Datagrams of one class queued for their reader: a burst of the DHT, at most 16 MiB if all had the largest size.
const WAITING: usize = 256;

/// Errors in a row that do not end the socket. An interface that goes down, or an administrator's command, causes one,
/// and the socket keeps working; quinn would end, and all connections with it.
const PASSING_ERRORS: u32 = 16;

/// A datagram's source address and content.
pub type Datagram = (SocketAddr, Bytes);

/// Distributes what is not QUIC, and notifies those who await QUIC packets. Shared by all sockets of a transport.
pub(crate) struct Sorter {
    readers: Mutex<HashMap<Class, mpsc::Sender<Datagram>>>,
    awaited: Mutex<HashMap<SocketAddr, Vec<Arc<Notify>>>>,
    /// The size of `awaited`, so that packets take no lock while no dial is in progress.
    awaiting: AtomicUsize,
    contacted: Contacted,
    metrics: Metrics,
}

/// How long a NAT may let in answers to what was sent.
const CONTACTED_TIME: Duration = Duration::from_secs(300);
/// Most addresses remembered for that; beyond it, strangers are not recognised as such.
const MOST_CONTACTED: usize = 4_096;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Addresses to which we sent something recently from our listening port, so that what comes from there is solicited.
#[derive(Default)]
pub(crate) struct Contacted(Mutex<HashMap<SocketAddr, Instant>>);

impl Contacted {
    /// Records that something is sent to that address.
    pub(crate) fn contacts(&self, to: SocketAddr) {
        let (mut contacted, now) = (lock(&self.0), Instant::now());
        if contacted.len() >= MOST_CONTACTED {
            contacted.retain(|_, at| now.saturating_duration_since(*at) < CONTACTED_TIME);
        }
        if contacted.len() < MOST_CONTACTED || contacted.contains_key(&to) {
            contacted.insert(canonical(to), now);
        }
    }

    /// Whether packets from that address came unsolicited. Only those show that strangers get through to us.
    pub(crate) fn is_unsolicited(&self, from: SocketAddr) -> bool {
        let contacted = lock(&self.0);
        contacted.len() < MOST_CONTACTED && !contacted.contains_key(&canonical(from))
    }
}

impl Sorter {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self {
            readers: Mutex::default(),
            awaited: Mutex::default(),
            awaiting: AtomicUsize::new(0),
            contacted: Contacted::default(),
            metrics,
        }
    }

    fn subscribe(&self, class: Class) -> mpsc::Receiver<Datagram> {
        let (sender, receiver) = mpsc::channel(WAITING);
        lock(&self.readers).insert(class, sender);
        receiver
    }

    fn hand_out(&self, class: Class, from: SocketAddr, bytes: &[u8]) {
        self.metrics.datagram(class.label());
        let mut readers = lock(&self.readers);
        let Some(reader) = readers.get(&class) else {
            return;
        };
        let closed = match reader.try_reserve() {
            Ok(room) => {
                room.send((canonical(from), Bytes::copy_from_slice(bytes)));
                false
            }
            Err(mpsc::error::TrySendError::Full(())) => {
                self.metrics.datagram_dropped(class.label());
                false
            }
            Err(mpsc::error::TrySendError::Closed(())) => true,
        };
        if closed {
            readers.remove(&class);
        }
    }

    /// Records that something is sent to that address.
    pub(crate) fn contacts(&self, to: SocketAddr) {
        self.contacted.contacts(to);
    }

    /// See [`Contacted::is_unsolicited`].
    pub(crate) fn is_unsolicited(&self, from: SocketAddr) -> bool {
        self.contacted.is_unsolicited(from)
    }

    /// Watches for the first QUIC packets from an address until the guard is dropped.
    pub(crate) fn expect(self: &Arc<Self>, from: SocketAddr) -> Expected {
        let came = Arc::new(Notify::new());
        let mut awaited = lock(&self.awaited);
        awaited.entry(from).or_default().push(Arc::clone(&came));
        self.awaiting.store(awaited.len(), Ordering::Relaxed);
        drop(awaited);
        Expected {
            sorter: Arc::clone(self),
            from,
            came,
        }
    }

    fn quic_came(&self, from: SocketAddr) {
        if self.awaiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        if let Some(waiting) = lock(&self.awaited).get(&canonical(from)) {
            waiting.iter().for_each(|came| came.notify_one());
        }
    }
}

/// A wait for the first QUIC packet from an address.
pub(crate) struct Expected {
    sorter: Arc<Sorter>,
    from: SocketAddr,
    came: Arc<Notify>,
}

impl Expected {
    /// Waits for a packet; returns at once if one has come since the beginning. Cancel-safe, for one waiter.
    pub(crate) async fn packet(&self) {
        self.came.notified().await;
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        let mut awaited = lock(&self.sorter.awaited);
        if let Some(waiting) = awaited.get_mut(&self.from) {
            waiting.retain(|came| !Arc::ptr_eq(came, &self.came));
            if waiting.is_empty() {
                awaited.remove(&self.from);
            }
        }
        self.sorter.awaiting.store(awaited.len(), Ordering::Relaxed);
    }
}

/// Whether much is being sent. A quinn connection keeps a buffer for as many datagrams as may go to the kernel at once,
/// and most connections never send more than one or two, so they get more only under load.
#[derive(Default)]
struct Bulk {
    /// Grows with each full transmit and shrinks with each other one.
    score: AtomicUsize,
}

impl Bulk {
    /// Datagrams per transmit at low load.
    const FEW: usize = 2;
    /// The score from which the load counts as high: more than the flights of a few handshakes.
    const MUCH: usize = 16;
    /// The highest score: after this many small transmits the load counts as low.
    const MOST: usize = 128;

    /// Datagrams per transmit, if the kernel takes `most`.
    fn segments(&self, most: usize) -> usize {
        if self.score.load(Ordering::Relaxed) < Self::MUCH {
            most.min(Self::FEW)
        } else {
            most
        }
    }

    /// Updates the score. If two threads do so at once one update is lost, which matters little.
    fn sent(&self, transmit: &Transmit<'_>) {
        let full = transmit
            .segment_size
            .is_some_and(|size| transmit.contents.len() > size * (Self::FEW - 1));
        let score = self.score.load(Ordering::Relaxed);
        let next = if full {
            (score + 2).min(Self::MOST)
        } else {
            score.saturating_sub(1)
        };
        if next != score {
            self.score.store(next, Ordering::Relaxed);
        }
    }
}

/// The socket as quinn sees it: only QUIC comes out of it.
pub(crate) struct SharedSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    sorter: Arc<Sorter>,
    bulk: Bulk,
}

impl SharedSocket {
    pub(crate) fn new(inner: Arc<dyn AsyncUdpSocket>, sorter: Arc<Sorter>) -> Self {
        Self {
            inner,
            sorter,
            bulk: Bulk::default(),
        }
    }
}

impl fmt::Debug for SharedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedSocket({:?})", self.inner.local_addr().ok())
    }
}

impl AsyncUdpSocket for SharedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.bulk.sent(transmit);
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut errors = 0;
        let received = loop {
            match std::task::ready!(self.inner.poll_recv(cx, bufs, meta)) {
                Ok(received) => break received,
                Err(error) if errors < PASSING_ERRORS => {
                    errors += 1;
                    tracing::warn!(%error, "receiving on the UDP port failed");
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        };
        for (buffer, meta) in bufs.iter_mut().zip(meta.iter_mut()).take(received) {
            // quinn skips an emptied buffer but counts it as work, so a flood cannot hold its task.
            let other = |class, bytes: &[u8]| self.sorter.hand_out(class, meta.addr, bytes);
            let kept = compact(buffer, meta.len, meta.stride, other);
            meta.len = kept;
            if kept != 0 {
                self.sorter.quic_came(meta.addr);
            }
        }
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.bulk.segments(self.inner.max_transmit_segments())
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

/// The node's one UDP port, for protocols other than QUIC: trackers, DHT, punches. Cheap to clone; does not keep the
/// sockets open.
#[derive(Clone)]
pub struct Udp {
    sockets: Arc<[(SocketAddr, Weak<SharedSocket>)]>,
    sorter: Arc<Sorter>,
}

impl fmt::Debug for Udp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.sockets.iter().map(|(local, _)| local))
            .finish()
    }
}

impl Udp {
    pub(crate) fn new(
        sockets: impl IntoIterator<Item = (SocketAddr, Weak<SharedSocket>)>,
        sorter: Arc<Sorter>,
    ) -> Self {
        Self {
            sockets: sockets.into_iter().collect(),
            sorter,
        }
    }

    /// Whether there is a socket for that address family.
    pub fn reaches(&self, ipv6: bool) -> bool {
        self.sockets
            .iter()
            .any(|(local, _)| local.is_ipv6() == ipv6)
    }

    /// Sends one datagram from our one port, through the first socket of the target's family. Waits while the kernel's
    /// buffer is full. Fails with `Unsupported` without such a socket, with `NotConnected` after the transport has
    /// stopped, and with the kernel's errors. Cancel-safe: nothing was sent then.
    pub async fn send_to(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        self.sorter.contacts(to);
        let socket = self.socket(to)?;
        let transmit = transmit(to, datagram);
        let mut poller = None;
        loop {
            match socket.try_send(&transmit) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let poller =
                        poller.get_or_insert_with(|| Arc::clone(&socket).create_io_poller());
                    poll_fn(|cx| poller.as_mut().poll_writable(cx)).await?;
                }
                end => return end,
            }
        }
    }

    /// As [`Udp::send_to`], but without waiting: fails with `WouldBlock` while the kernel's buffer is full.
    pub fn try_send_to(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        self.sorter.contacts(to);
        self.socket(to)?.try_send(&transmit(to, datagram))
    }

    /// Waits until every socket can send without waiting. For a moment, the runtime takes a new socket to be unable to.
    pub async fn writable(&self) -> io::Result<()> {
        for socket in self
            .sockets
            .iter()
            .filter_map(|(_, socket)| socket.upgrade())
        {
            let mut poller = socket.create_io_poller();
            poll_fn(|cx| poller.as_mut().poll_writable(cx)).await?;
        }
        Ok(())
    }

    fn socket(&self, to: SocketAddr) -> io::Result<Arc<SharedSocket>> {
        let of_family = |(local, _): &&(SocketAddr, _)| local.is_ipv6() == canonical(to).is_ipv6();
        let (_, socket) = self
            .sockets
            .iter()
            .find(of_family)
            .ok_or(io::ErrorKind::Unsupported)?;
        Ok(socket.upgrade().ok_or(io::ErrorKind::NotConnected)?)
    }

    /// Receives all further datagrams of one class from all sockets. Each class has one reader: a new one replaces it.
    /// At most 256 datagrams are queued; the rest are dropped and counted. [`Class::Quic`] belongs to quinn and yields
    /// nothing.
    pub fn subscribe(&self, class: Class) -> mpsc::Receiver<Datagram> {
        self.sorter.subscribe(class)
    }
}

fn transmit(to: SocketAddr, datagram: &[u8]) -> Transmit<'_> {
    Transmit {
        destination: canonical(to),
        ecn: None,
        contents: datagram,
        segment_size: None,
        src_ip: None,
    }
}
