//! The store's handle.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bitchat_wire::{
    channel::ChannelId,
    event::{Event, EventId},
    identity::DeviceId,
};
use rusqlite::Connection;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::{
    api::{ChannelRecord, Delivery, DeviceRecord, KnownPeer, LogHead, NewEvent},
    devices,
    error::{Fail, StoreError},
    history,
    index::{IndexFactory, Indexes},
    logs, open, reader, tables, thread,
    thread::{Call, Post},
    writer::{self, Counters, Work},
};
use crate::{
    kit::{Addr, AskError, Scope, SendError},
    migrations::STEPS,
};

/// Calls queued for the writer. Each channel has a few in flight, so the queue fills only when the disk hangs.
const WRITES: usize = 1_024;
/// Calls queued for the reader; more callers than this wait for room.
const READS: usize = 256;
/// How long an append waits for its commit before it fails with [`StoreError::Gone`]: longer than a slow disk takes for
/// one transaction, short enough that a dead one is noticed.
const COMMIT_PATIENCE: Duration = Duration::from_secs(30);

/// A handle to the store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    writes: Addr<Post<Work>>,
    reads: Addr<Post<Connection>>,
}

impl Store {
    /// Opens or creates the database and starts its threads in `scope`. An older database is copied and then migrated.
    /// `indexes` are kept in step with the logs; pass those of all rooms, because the migrations use their functions.
    pub async fn open(
        path: &Path,
        scope: &Scope,
        indexes: &'static [IndexFactory],
    ) -> Result<Self, StoreError> {
        Self::open_with(path, scope, indexes, STEPS).await
    }

    pub(super) async fn open_with(
        path: &Path,
        scope: &Scope,
        indexes: &'static [IndexFactory],
        steps: &'static [&'static str],
    ) -> Result<Self, StoreError> {
        let path = path.to_owned();
        let first = path.clone();
        let (writer, reader) = tokio::task::spawn_blocking(move || {
            let writer = open::writer(&first, steps, &Indexes::new(indexes))?;
            let reader = open::reader(&first, &Indexes::new(indexes))?;
            Ok::<_, StoreError>((writer, reader))
        })
        .await
        .map_err(|_| StoreError::Gone)??;
        let counters = Counters::register(scope.metrics());
        let opened = Opened::new(path.clone(), writer);
        let writes = thread::start(scope, "store-writer", WRITES, move |queue| {
            let indexes = Indexes::new(indexes);
            match opened.take(|path| open::writer(path, steps, &indexes)) {
                Ok(conn) => writer::run(conn, indexes, counters.clone(), queue),
                Err(error) => {
                    queue.refuse_all(&error);
                    Err(error)
                }
            }
        });
        let opened = Opened::new(path, reader);
        let reads = thread::start(scope, "store-reader", READS, move |queue| {
            match opened.take(|path| open::reader(path, &Indexes::new(indexes))) {
                Ok(conn) => reader::run(conn, queue),
                Err(error) => {
                    queue.refuse_all(&error);
                    Err(error)
                }
            }
        });
        Ok(Self { writes, reads })
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Work) -> Result<T, Fail> + Send + 'static,
    ) -> Result<T, StoreError> {
        let answer = self.writes.ask(|reply| Call::post(reply, work)).await;
        answer.map_err(unanswered)?
    }

    /// Puts a call into the writer's queue before it returns.
    fn write_in_order<T, W>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<T, StoreError>> + Send + 'static + use<T, W>
    where
        T: Send + 'static,
        W: FnOnce(&mut Work) -> Result<T, Fail> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let queued = self.writes.try_send(Call::post(reply, work));
        async move {
            queued.map_err(|error| match error {
                SendError::Full(_) => StoreError::Busy,
                SendError::Stopped(_) => StoreError::Gone,
            })?;
            match tokio::time::timeout(COMMIT_PATIENCE, answer).await {
                Ok(Ok(end)) => end,
                _ => Err(StoreError::Gone),
            }
        }
    }

    /// Runs a query on the reader's connection, in a transaction of its own: it sees one moment.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Fail> + Send + 'static,
    ) -> Result<T, StoreError> {
        let read = |conn: &mut Connection| reader::view(conn, read);
        let answer = self.reads.ask(|reply| Call::post(reply, read)).await;
        answer.map_err(unanswered)?
    }

    // -- settings of the node (device key, reset key, port) ------------------------------------

    /// A named value; `None` if it was never set.
    pub async fn value(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let name = name.to_owned();
        self.read(move |conn| reader::value(conn, &name)).await
    }

    /// Sets a named value.
    pub async fn set_value(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        let name = name.to_owned();
        let value = Zeroizing::new(value.to_vec());
        self.write(move |work| tables::set_value(work, &name, &value))
            .await
    }

    // -- channels ------------------------------------------------------------------------------

    /// Adds a channel. If the channel is in the store already, its file is replaced and the time of joining kept.
    pub async fn put_channel(&self, channel: ChannelRecord) -> Result<(), StoreError> {
        self.write(move |work| tables::put_channel(work, &channel))
            .await
    }

    /// All channels, the first joined first.
    pub async fn channels(&self) -> Result<Vec<ChannelRecord>, StoreError> {
        self.read(reader::channels).await
    }

    /// Joins a channel. `fresh` becomes its device key if it was left before, which `tag` tells: 32 bytes made of the
    /// channel's id and the home's device key. If the channel was joined already, only its file is replaced.
    pub async fn join_channel(
        &self,
        channel: ChannelRecord,
        tag: [u8; 32],
        fresh: DeviceRecord,
    ) -> Result<(), StoreError> {
        self.write(move |work| devices::join(work, &channel, tag, &fresh))
            .await
    }

    /// Leaves a channel: removes it with everything that belongs to it, and keeps its tag and clock. What was written there
    /// is still in some files until [`Store::erase_left`].
    pub async fn leave_channel(&self, cid: ChannelId, tag: [u8; 32]) -> Result<(), StoreError> {
        self.write(move |work| devices::leave(work, &cid, tag))
            .await
    }

    /// Erases what was written in channels that were left from all files of the store, copies made before migrations
    /// included, unless that was done.
    pub async fn erase_left(&self) -> Result<(), StoreError> {
        let pending = self.value(devices::ERASE_PENDING).await?;
        if pending.is_none_or(|pending| pending.is_empty()) {
            return Ok(());
        }
        self.write(devices::erase).await?;
        self.set_value(devices::ERASE_PENDING, b"").await
    }

    /// The device key of a channel's own; `None` if the home's is used there.
    pub async fn channel_device(&self, cid: ChannelId) -> Result<Option<DeviceRecord>, StoreError> {
        self.read(move |conn| devices::device(conn, &cid)).await
    }

    /// Removes a channel and everything that belongs to it, without a trace that it was there.
    #[cfg(test)]
    pub(crate) async fn remove_channel(&self, cid: ChannelId) -> Result<(), StoreError> {
        self.write(move |work| tables::remove_channel(work, &cid))
            .await
    }

    // -- logs ------------------------------------------------------------------------------------

    /// The logs of a channel, in the order of their devices.
    pub async fn heads(&self, cid: ChannelId) -> Result<Vec<LogHead>, StoreError> {
        self.read(move |conn| history::heads(conn, &cid)).await
    }

    /// Commits events, all or none; each must follow its log ([`StoreError::Gap`]). Returns their
    /// positions once they are on the disk. Calls are committed in the order in which they were made,
    /// many in one transaction; when one fails, so does every later one that builds on it.
    ///
    /// The call is queued before this returns, whether or not the future is ever polled: dropping it gives up the
    /// answer alone. If 1,024 calls are queued already, nothing is queued and the future fails with
    /// [`StoreError::Busy`] at once, so a caller that is alone and has fewer in flight never gets it. Without an answer
    /// for 30 s it fails with [`StoreError::Gone`]; the events may still be committed.
    pub fn append(
        &self,
        cid: ChannelId,
        events: Vec<NewEvent>,
    ) -> impl Future<Output = Result<Vec<u64>, StoreError>> + Send + 'static + use<> {
        self.write_in_order(move |work| logs::append(work, &cid, &events))
    }

    /// Events `from..to` of a log, in order, at most `max_bytes` of raw events (but at least one event, if there is one).
    pub async fn events(
        &self,
        cid: ChannelId,
        device: DeviceId,
        from: u64,
        to: u64,
        max_bytes: usize,
    ) -> Result<Vec<Event>, StoreError> {
        self.read(move |conn| history::events(conn, &cid, device, &(from..to), max_bytes))
            .await
    }

    /// The ids of events `from..to` of a log, at most 256.
    pub async fn event_ids(
        &self,
        cid: ChannelId,
        device: DeviceId,
        from: u64,
        to: u64,
    ) -> Result<Vec<EventId>, StoreError> {
        self.read(move |conn| history::event_ids(conn, &cid, device, &(from..to)))
            .await
    }

    /// The event made with an idempotency key; `None` if the key was not used.
    pub async fn by_key(&self, cid: ChannelId, key: &str) -> Result<Option<EventId>, StoreError> {
        let key = key.to_owned();
        self.read(move |conn| history::by_key(conn, &cid, &key))
            .await
    }

    /// The newest position that was ever assigned; 0 before the first event.
    pub async fn last_position(&self) -> Result<u64, StoreError> {
        self.read(history::last_position).await
    }

    // -- delivery --------------------------------------------------------------------------------

    /// Raises delivery marks; marks lower than the known ones are ignored. Queued as [`Store::append`] is.
    pub fn set_deliveries(
        &self,
        cid: ChannelId,
        marks: Vec<Delivery>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + 'static + use<> {
        self.write_in_order(move |work| tables::set_deliveries(work, &cid, &marks))
    }

    /// All delivery marks of a channel.
    pub async fn deliveries(&self, cid: ChannelId) -> Result<Vec<Delivery>, StoreError> {
        self.read(move |conn| reader::deliveries(conn, &cid)).await
    }

    // -- forks -----------------------------------------------------------------------------------

    /// Stores the proof that a device signed two events with one number, moves the events from the lowest such number
    /// on out of the log (they are kept as evidence), and closes the log there. The events must have been verified for
    /// this channel; the log itself need not be known.
    pub async fn close_log(&self, cid: ChannelId, a: Event, b: Event) -> Result<(), StoreError> {
        self.write(move |work| logs::close(work, &cid, &a, &b))
            .await
    }

    /// The proofs of forks in a channel: pairs of events with the same device and number, for each device the lowest
    /// number proven.
    pub async fn forks(&self, cid: ChannelId) -> Result<Vec<(Event, Event)>, StoreError> {
        self.read(move |conn| history::forks(conn, &cid)).await
    }

    // -- finding -----------------------------------------------------------------------------------

    /// The events of a channel whose id begins with these 6 to 64 hexadecimal digits: at most two, which is enough to
    /// tell one from several.
    pub async fn by_prefix(
        &self,
        cid: ChannelId,
        prefix: &str,
    ) -> Result<Vec<EventId>, StoreError> {
        let prefix = prefix.to_owned();
        self.read(move |conn| history::by_prefix(conn, &cid, &prefix))
            .await
    }

    // -- the peer cache ---------------------------------------------------------------

    /// Remembers an address at which a member was reached. At most 8 a member and 1,024 a channel are kept; the oldest are
    /// dropped.
    pub async fn remember_peer(&self, cid: ChannelId, peer: KnownPeer) -> Result<(), StoreError> {
        self.write(move |work| tables::remember_peer(work, &cid, &peer))
            .await
    }

    /// The remembered addresses of a channel, the latest success first.
    pub async fn known_peers(&self, cid: ChannelId) -> Result<Vec<KnownPeer>, StoreError> {
        self.read(move |conn| reader::known_peers(conn, &cid)).await
    }
}

fn unanswered(_: AskError) -> StoreError {
    StoreError::Gone
}

/// The connection of a thread's first life, opened in [`Store::open`] so that its errors reach the caller. Later lives open
/// their own.
struct Opened {
    path: PathBuf,
    first: Mutex<Option<Connection>>,
}

impl Opened {
    fn new(path: PathBuf, first: Connection) -> Self {
        Self {
            path,
            first: Mutex::new(Some(first)),
        }
    }

    fn take(
        &self,
        open: impl FnOnce(&Path) -> Result<Connection, StoreError>,
    ) -> Result<Connection, StoreError> {
        let first = self
            .first
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match first {
            Some(conn) => Ok(conn),
            None => open(&self.path),
        }
    }
}

#[cfg(test)]
impl Store {
    /// Lets a test work on the writer's connection.
    pub(crate) async fn tamper<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        self.write(move |inner| Ok(work(&inner.tx.conn))).await
    }
}
