//! The actor around the tiers: it has the clock, and sends requests and farewells.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bitchat_wire::channel::ChannelId;
use tokio::{task::JoinSet, time::timeout};

use super::{
    TrackerConfig, TrackerStatus, Watch,
    announce::Event,
    ask::Clients,
    reply::Answer,
    scrapes::Scrapes,
    swarm::{Announced, FAREWELL_TIME, Swarm, ask, goodbyes, send_farewells},
    tiers::{Failure, Request, Tiers},
};
use crate::kit::{Actor, Inbox, Reply, Scope, clock::now};

/// Requests under way. This many dead hosts would hold up the others for one time-out, so there is room for more than a
/// file usually names; each request may hold 1 MiB.
const REQUESTS: usize = 32;
/// Scrapes under way at a time.
const SCRAPES: usize = 4;
/// The longest time between two looks at the wall clock for a change of the hashes, which overlap by two hours. The
/// monotonic clock stands still while a machine sleeps, so a timer alone would fire late.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(600);

/// A command.
pub(super) enum Msg {
    /// Announces a channel.
    Watch(Box<Watch>),
    /// Stops announcing a channel; answered when its trackers have been notified.
    Unwatch(ChannelId, Reply<()>),
    /// Announces a channel before its time.
    AnnounceNow(ChannelId),
    /// As `AnnounceNow`, for a user, to one tracker or to all; answered with the number of trackers asked.
    AnnounceByHand(ChannelId, Option<String>, Reply<usize>),
    /// Announces another port.
    SetPort(u16),
    /// Asks for the status.
    Status(ChannelId, Reply<Vec<TrackerStatus>>),
}

/// What survives a restart.
pub(super) struct Memory {
    watched: Mutex<HashMap<ChannelId, Watch>>,
    port: AtomicU16,
}

impl Memory {
    pub(super) fn new(port: u16) -> Self {
        Self {
            watched: Mutex::default(),
            port: AtomicU16::new(port),
        }
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<ChannelId, Watch>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Channel {
    watch: Watch,
    /// The swarm of the current hash comes first.
    swarms: Vec<Announced>,
}

struct Done {
    swarm: Swarm,
    request: Request,
    result: Result<Answer, Failure>,
}

/// The actor.
pub(super) struct TrackerActor {
    config: TrackerConfig,
    memory: Arc<Memory>,
    channels: HashMap<ChannelId, Channel>,
    swarms: u64,
    requests: JoinSet<Done>,
    farewells: JoinSet<()>,
    scrapes: Scrapes,
    scraping: JoinSet<()>,
}

impl Actor for TrackerActor {
    type Msg = Msg;
    type Error = String;

    async fn run(mut self, inbox: &mut Inbox<Msg>, scope: &Scope) -> Result<(), String> {
        let clients = Clients::new(&self.config)
            .map(Arc::new)
            .map_err(|error| format!("no TLS: {error}"))?;
        let known: Vec<Watch> = self.memory.watched().values().cloned().collect();
        for watch in known {
            self.watch(watch, &clients);
        }
        let mut clock = tokio::time::interval(LOOK_AT_CLOCK);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.launch(&clients);
            let due = self.next();
            let sleep = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = scope.stop_signal().cancelled() => break,
                Some(done) = self.requests.join_next() => self.done(
                    done.map_err(|error| format!("a request failed: {error}"))?,
                    &clients,
                ),
                Some(_) = self.farewells.join_next() => {}
                Some(_) = self.scraping.join_next() => {}
                message = inbox.recv() => match message {
                    Some(message) => self.handle(message, &clients),
                    None => break,
                },
                _ = clock.tick() => self.rotate(&clients),
                () = sleep => {}
            }
        }
        self.farewell(&clients).await;
        Ok(())
    }
}

impl TrackerActor {
    pub(super) fn new(config: TrackerConfig, memory: Arc<Memory>) -> Self {
        let scrapes = Scrapes::new(config.torrents.disguise().client().scrapes);
        Self {
            config,
            memory,
            channels: HashMap::new(),
            swarms: 0,
            requests: JoinSet::new(),
            farewells: JoinSet::new(),
            scrapes,
            scraping: JoinSet::new(),
        }
    }

    fn handle(&mut self, message: Msg, clients: &Arc<Clients>) {
        match message {
            Msg::Watch(watch) => {
                self.memory.watched().insert(watch.cid, (*watch).clone());
                self.watch(*watch, clients);
            }
            Msg::Unwatch(cid, done) => {
                self.memory.watched().remove(&cid);
                let swarms = self
                    .channels
                    .remove(&cid)
                    .map_or_else(Vec::new, |channel| channel.swarms);
                swarms.iter().for_each(|announced| self.left(announced));
                let farewells = swarms
                    .into_iter()
                    .flat_map(|mut announced| goodbyes(&mut announced))
                    .collect();
                self.say_goodbye(farewells, clients, Some(done));
            }
            Msg::AnnounceNow(cid) => {
                let now = now();
                for announced in self
                    .channels
                    .get_mut(&cid)
                    .into_iter()
                    .flat_map(|channel| &mut channel.swarms)
                {
                    announced.tiers.extra(now);
                }
            }
            Msg::AnnounceByHand(cid, url, answer) => {
                let now = now();
                let swarms = self
                    .channels
                    .get_mut(&cid)
                    .map(|channel| &mut channel.swarms);
                // Around a change of period there are two swarms; a user counts trackers.
                let asked = swarms
                    .into_iter()
                    .flatten()
                    .map(|announced| announced.tiers.by_hand(url.as_deref(), now))
                    .max();
                // The asker may be gone.
                let _ = answer.send(asked.unwrap_or_default());
            }
            Msg::SetPort(port) => self.memory.port.store(port, Ordering::Relaxed),
            Msg::Status(cid, answer) => {
                let status = self
                    .channels
                    .get(&cid)
                    .and_then(|channel| channel.swarms.first())
                    .map_or_else(Vec::new, |announced| announced.tiers.status());
                // The asker may be gone.
                let _ = answer.send(status);
            }
        }
    }

    fn watch(&mut self, watch: Watch, clients: &Arc<Clients>) {
        let cid = watch.cid;
        let mut farewells = Vec::new();
        let mut swarms = Vec::new();
        if let Some(old) = self.channels.remove(&cid) {
            swarms = old.swarms;
            for announced in &mut swarms {
                let swarm = announced.swarm;
                self.scrapes.replace(swarm.number, &watch.tiers);
                let leaving = announced
                    .tiers
                    .replace(&watch.tiers, now(), &mut rand::rng());
                farewells.extend(leaving.into_iter().map(|request| (swarm, request)));
            }
        }
        self.channels.insert(cid, Channel { watch, swarms });
        farewells.extend(self.rotate_channel(cid, unix_now()));
        self.say_goodbye(farewells, clients, None);
    }

    /// Announces hashes whose period has begun, and leaves those whose period is over.
    fn rotate(&mut self, clients: &Arc<Clients>) {
        let unix = unix_now();
        let all: Vec<ChannelId> = self.channels.keys().copied().collect();
        let farewells = all
            .into_iter()
            .flat_map(|cid| self.rotate_channel(cid, unix))
            .collect();
        self.say_goodbye(farewells, clients, None);
    }

    fn rotate_channel(&mut self, cid: ChannelId, unix: u64) -> Vec<(Swarm, Request)> {
        let Some(channel) = self.channels.get_mut(&cid) else {
            return Vec::new();
        };
        let mut old = std::mem::take(&mut channel.swarms);
        for hash in channel.watch.keys.announced(unix) {
            let known = old
                .iter()
                .position(|announced| announced.swarm.hash == hash);
            let announced = known
                .map(|place| old.swap_remove(place))
                .unwrap_or_else(|| {
                    self.swarms += 1;
                    let mut rng = rand::rng();
                    Announced {
                        swarm: Swarm {
                            cid,
                            hash,
                            disguise: self.config.torrents.disguise(),
                            persona: self.config.torrents.begin(&hash.0, &mut rng),
                            number: self.swarms,
                        },
                        tiers: Tiers::new(
                            self.config.torrents.disguise().client(),
                            &channel.watch.tiers,
                            now().max(channel.watch.not_before),
                            &mut rng,
                        ),
                    }
                });
            channel.swarms.push(announced);
        }
        old.iter().for_each(|announced| self.left(announced));
        old.iter_mut().flat_map(goodbyes).collect()
    }

    /// Forgets a hash that is not announced any more.
    fn left(&mut self, announced: &Announced) {
        let Swarm { hash, number, .. } = &announced.swarm;
        self.config.torrents.end(&hash.0);
        self.scrapes.forget(*number);
    }

    fn next(&self) -> Option<Instant> {
        // Without room for another request, the end of one wakes the actor.
        let scrape = (self.scraping.len() < SCRAPES).then(|| self.scrapes.next());
        let announce = (self.requests.len() < REQUESTS).then(|| self.next_announce());
        [scrape, announce].into_iter().flatten().flatten().min()
    }

    fn next_announce(&self) -> Option<Instant> {
        self.channels
            .values()
            .flat_map(|channel| &channel.swarms)
            .filter_map(|announced| announced.tiers.next())
            .min()
    }

    /// Sends the requests that are due.
    fn launch(&mut self, clients: &Arc<Clients>) {
        let now = now();
        while self.scraping.len() < SCRAPES
            && let Some((tracker, hashes)) = self.scrapes.due(now, unix_ms())
        {
            let (clients, limit) = (Arc::clone(clients), self.config.timeout);
            self.scraping
                .spawn(async move { clients.scrape(&tracker, &hashes, limit).await });
        }
        let port = self.memory.port.load(Ordering::Relaxed);
        let swarms = self.channels.values_mut().flat_map(|channel| {
            let found = &channel.watch.found;
            channel.swarms.iter_mut().map(move |swarm| (found, swarm))
        });
        for (found, announced) in swarms {
            while self.requests.len() < REQUESTS {
                let Some(request) = announced.tiers.due(now) else {
                    break;
                };
                let (swarm, limit) = (announced.swarm, self.config.timeout);
                let (clients, found) = (Arc::clone(clients), found.clone());
                self.requests.spawn(async move {
                    let result = ask(&clients, swarm, &request, port, limit, &found).await;
                    Done {
                        swarm,
                        request,
                        result,
                    }
                });
            }
        }
    }

    fn done(&mut self, done: Done, clients: &Arc<Clients>) {
        let Done {
            swarm,
            request,
            result,
        } = done;
        match &result {
            Ok(answer) => {
                tracing::debug!(tracker = %request.url, peers = answer.peers.len(), "tracker answered")
            }
            Err(failure) => {
                tracing::debug!(tracker = %request.url, error = failure.text, "tracker failed")
            }
        }
        let announced = self.channels.get_mut(&swarm.cid).and_then(|channel| {
            channel
                .swarms
                .iter_mut()
                .find(|a| a.swarm.number == swarm.number)
        });
        match announced {
            Some(announced) => {
                if let Ok(answer) = &result {
                    let tracker = (request.name.as_str(), &request.url);
                    let swarm = (swarm.number, swarm.hash.0);
                    self.scrapes
                        .answered(tracker, swarm, answer.counted, now(), unix_ms());
                }
                announced
                    .tiers
                    .done(&request, result.as_ref(), now(), &mut rand::rng())
            }
            // The swarm was left while its first announce was under way: only now does the tracker know us.
            None => {
                if let Ok(answer) = result {
                    let request = Request {
                        event: Event::Stopped,
                        tracker_id: answer.tracker_id.or(request.tracker_id),
                        ..request
                    };
                    self.say_goodbye(vec![(swarm, request)], clients, None);
                }
            }
        }
    }

    /// Sends `stopped` in the background; `done` is answered at its end.
    fn say_goodbye(
        &mut self,
        farewells: Vec<(Swarm, Request)>,
        clients: &Arc<Clients>,
        done: Option<Reply<()>>,
    ) {
        if !farewells.is_empty() {
            let port = self.memory.port.load(Ordering::Relaxed);
            let clients = Arc::clone(clients);
            self.farewells.spawn(async move {
                send_farewells(&clients, farewells, port).await;
                if let Some(done) = done {
                    // The asker may be gone.
                    let _ = done.send(());
                }
            });
        } else if let Some(done) = done {
            let _ = done.send(());
        }
    }

    /// Sends `stopped` to all trackers that know us, as far as two seconds allow.
    async fn farewell(&mut self, clients: &Arc<Clients>) {
        self.requests.abort_all();
        self.scraping.abort_all();
        let farewells: Vec<_> = self
            .channels
            .values_mut()
            .flat_map(|channel| &mut channel.swarms)
            .flat_map(goodbyes)
            .collect();
        self.say_goodbye(farewells, clients, None);
        let all = async { while self.farewells.join_next().await.is_some() {} };
        // What is not sent by then is dropped: trackers forget us after a while.
        let _ = timeout(FAREWELL_TIME, all).await;
    }
}

fn unix_now() -> u64 {
    unix_ms() / 1_000
}

fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}
