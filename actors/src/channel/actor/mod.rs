//! The shell around the machine: commits, links, commands, time.

mod deeds;
mod differences;
mod snapshot;

use std::{
    collections::{HashMap, HashSet},
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bitchat_wire::{
    event::{Body, Event, EventId, ReadMark, genesis_body},
    identity::{DeviceId, IdentityId},
    link::TlsSide,
    message::{self, MAX_IDS},
    proto::{self, bye::Reason, link_message::Kind},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesOrdered};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::{sleep_until, timeout},
};

use super::{
    ChannelConfig, ChannelError, ChannelEvent, MemberView, Mesh, PathView,
    effects::{Effect, Input, Note, Now, Up},
    logs::Device,
    machine::Machine,
    people::{People, Reading},
    views::Snapshot,
};
use crate::{
    discovery::{Hint, Source, Way},
    kit::{Actor, Inbox, Reply, Scope},
    link::{LINK_MAILBOX, LinkEvent, LinkHandle, LinkId, LinkUp, Registration},
    store::{NewEvent, Profile, StoreError},
    transport::{Relay, Target},
};

/// What the user wants, waiting: a person and a few programs.
pub(super) const COMMANDS: usize = 256;
/// Commands that are heard between two words of links.
const COMMANDS_A_TURN: usize = 16;
/// Words of links, waiting; each link keeps one place for its last word.
const LINK_EVENTS: usize = 1_024;
/// Commits in flight. Beyond, neither links nor users are heard, until the disk has caught up.
const COMMITS: usize = 128;
/// Reads of the store in flight, for forks. Beyond, suspicions wait for their next occasion.
const READS: usize = 8;
/// After the store refused, nothing more is tried for so long.
const RECOVERY: Duration = Duration::from_secs(2);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What the user wants of a channel.
pub(super) enum Command {
    Say {
        body: Vec<u8>,
        key: Option<String>,
        reply: Reply<Result<EventId, ChannelError>>,
    },
    Snapshot(Reply<Snapshot>),
    Typing,
    /// Whether that is news.
    Read(ReadMark, Reply<bool>),
    Leave(Reply<Result<(), ChannelError>>),
    Links(Reply<Vec<LinkHandle>>),
    /// Answered once discovery knows the address.
    Connect(SocketAddr, Reply<()>),
    /// The trackers are others; answered once discovery knows them.
    Trackers(Reply<()>),
}

enum Answer {
    /// Our own word (the first event, our name): nobody asked.
    Nobody,
    User(Reply<Result<EventId, ChannelError>>),
    Leave(Reply<Result<(), ChannelError>>),
}

type Commit = Pin<Box<dyn Future<Output = (u64, Result<Vec<u64>, StoreError>)> + Send>>;

/// What came of something done on the side.
enum Done {
    Input(Box<Input>),
    /// What counts of profiles, now that events were taken out of the log of that identity's device.
    Profiles(DeviceId, Vec<(IdentityId, Profile)>),
}

struct Link {
    handle: LinkHandle,
    identity: IdentityId,
    source: Option<Way>,
}

/// One life of a channel's actor.
pub(super) struct Shell {
    config: Arc<ChannelConfig>,
    links: HashMap<LinkId, Link>,
    people: People,
    reading: Reading,
    /// What our profile says elsewhere, and not yet here.
    unsaid: Vec<Vec<u8>>,
    answers: HashMap<u64, Answer>,
    next_token: u64,
    commits: FuturesOrdered<Commit>,
    /// What the events of commits under way say counts when they are on the disk, where others will look for them.
    unheard: HashMap<u64, Vec<(IdentityId, Event)>>,
    reads: JoinSet<Option<Done>>,
    trouble: Option<(String, Instant)>,
}

impl Shell {
    pub(super) fn new(config: Arc<ChannelConfig>) -> Self {
        Self {
            config,
            links: HashMap::new(),
            people: People::default(),
            reading: Reading::default(),
            unsaid: Vec::new(),
            answers: HashMap::new(),
            next_token: 0,
            commits: FuturesOrdered::new(),
            unheard: HashMap::new(),
            reads: JoinSet::new(),
            trouble: None,
        }
    }

    async fn load(&mut self) -> Result<Machine, StoreError> {
        let config = Arc::clone(&self.config);
        let (store, cid) = (&config.store, config.cid());
        let heads = store.heads(cid).await?;
        let mut left = HashSet::new();
        for head in &heads {
            let last = head.next.saturating_sub(1);
            let last = store
                .events(cid, head.certificate.device, last, head.next, 1)
                .await?;
            if last
                .first()
                .is_some_and(|event| Body::of(event) == Body::Leave)
            {
                left.insert(head.certificate.identity);
            }
        }
        self.people = People::load(store.profiles(cid).await?, left);
        let me = config.local.certificate.identity;
        let own = self.people.profile(&me).cloned().unwrap_or_default();
        self.reading = Reading::load(own.read());
        self.unsaid = super::conversation::unsaid(store, cid, &own).await?;
        let (marks, proofs) = (store.deliveries(cid).await?, store.forks(cid).await?);
        Ok(Machine::new(
            cid,
            Arc::clone(&config.local),
            config.accept(),
            config.transport.peer_id(),
            heads,
            &marks,
            proofs,
        ))
    }

    /// Lets members link, and looks for them.
    async fn open(config: Arc<ChannelConfig>, events: mpsc::Sender<LinkEvent>, room: Arc<Notify>) {
        config.links.register(Registration {
            cid: config.cid(),
            keys: config.keys(),
            local: Arc::clone(&config.local),
            accept: config.accept(),
            agent: config.agent.clone(),
            events,
            room,
        });
        config.discovery.want(config.wanted()).await;
    }

    /// Opens our log, or says our new name.
    fn introduce(&mut self, machine: &mut Machine) {
        let certificate = self.config.local.certificate;
        if machine.logs.next(&machine.me) == 0 {
            self.say_unasked(machine, genesis_body(&certificate).to_vec());
        }
        let name = self.config.name.trim();
        if self.people.name(&certificate.identity) != name
            && let Ok(profile) = Body::profile(name)
        {
            self.say_unasked(machine, profile);
        }
        for body in std::mem::take(&mut self.unsaid) {
            self.say_unasked(machine, body);
        }
    }

    fn say_unasked(&mut self, machine: &mut Machine, body: Vec<u8>) {
        let token = self.token(Answer::Nobody);
        self.step(
            machine,
            Input::Say {
                token,
                body,
                key: None,
            },
        );
    }

    fn token(&mut self, answer: Answer) -> u64 {
        self.next_token += 1;
        self.answers.insert(self.next_token, answer);
        self.next_token
    }

    fn step(&mut self, machine: &mut Machine, input: Input) {
        let effects = machine.handle(input, now());
        self.perform(effects);
    }

    fn link_event(&mut self, machine: &mut Machine, event: LinkEvent) {
        match event {
            LinkEvent::Up(up) => {
                let LinkUp {
                    handle,
                    peer,
                    initiator,
                    source,
                    ..
                } = *up;
                let (link, connection) = (handle.id(), handle.connection().clone());
                // A link that moves has nobody who found it anew.
                let before = |link: &&Link| link.identity == peer.identity;
                let former = || self.links.values().find(before)?.source.clone();
                let source = source.or_else(former);
                self.links.insert(
                    link,
                    Link {
                        handle,
                        identity: peer.identity,
                        source,
                    },
                );
                let up = Up {
                    link,
                    peer,
                    peer_id: connection.peer(),
                    remote: connection.dialable().unwrap_or_else(|| connection.target()),
                    dialable: connection.dialable().is_some(),
                    connection: connection.id(),
                    client_initiated: initiator == (connection.side() == TlsSide::Client),
                    draining: connection.is_draining(),
                    credits: LINK_MAILBOX,
                };
                self.step(machine, Input::Up(Box::new(up)));
            }
            LinkEvent::Message { link, message } => {
                self.step(machine, Input::Message(link, message))
            }
            LinkEvent::Closed { link, reason } => {
                tracing::debug!(?link, %reason, "link closed");
                self.links.remove(&link);
                self.step(machine, Input::Down(link));
            }
        }
    }

    /// Where others can reach us through those relays.
    fn reach(&self, relays: &[Relay]) -> Vec<Target> {
        let peer = self.config.transport.peer_id();
        let circuit = |relay: &Relay| Target::Circuit {
            relay: *relay,
            peer,
        };
        relays.iter().map(circuit).collect()
    }

    fn room(&mut self, machine: &mut Machine) {
        let taken: Vec<_> = self
            .links
            .iter()
            .map(|(id, link)| (*id, link.handle.take_credits()))
            .filter(|(_, taken)| *taken > 0)
            .collect();
        for (link, credits) in taken {
            self.step(machine, Input::Room(link, credits));
        }
    }

    fn command(&mut self, machine: &mut Machine, command: Command) {
        match command {
            Command::Say { body, key, reply } => {
                let token = self.token(Answer::User(reply));
                self.step(machine, Input::Say { token, body, key });
            }
            Command::Connect(address, reply) => {
                let hint = Hint {
                    peer: None,
                    addresses: vec![address.into()],
                    source: Source::Hand,
                    local: true,
                    via: None,
                };
                let (discovery, cid) = (self.config.discovery.clone(), self.config.cid());
                self.reads.spawn(async move {
                    discovery.hint(cid, hint).await;
                    let _ = reply.send(());
                    None
                });
            }
            Command::Trackers(reply) => {
                let (discovery, wanted) = (self.config.discovery.clone(), self.config.wanted());
                self.reads.spawn(async move {
                    discovery.want(wanted).await;
                    let _ = reply.send(());
                    None
                });
            }
            Command::Links(reply) => {
                drop(
                    reply.send(
                        self.links
                            .values()
                            .map(|link| link.handle.clone())
                            .collect(),
                    ),
                );
            }
            Command::Typing => self.step(machine, Input::Typing),
            Command::Read(mark, reply) => {
                let news = self.config.read_marks && self.reading.upto(mark, Instant::now());
                let _ = reply.send(news);
            }
            Command::Snapshot(reply) => drop(reply.send(self.snapshot(machine))),
            Command::Leave(reply) => {
                let token = self.token(Answer::Leave(reply));
                self.step(
                    machine,
                    Input::Say {
                        token,
                        body: Body::leave(),
                        key: None,
                    },
                );
            }
        }
    }

    /// A commit was refused. All that was not committed is forgotten and the machine begins anew from
    /// what the store has; links stay.
    async fn recover(
        &mut self,
        machine: &mut Machine,
        number: u64,
        error: StoreError,
    ) -> Result<(), StoreError> {
        let mut failed = vec![(number, error.clone())];
        while let Some((number, result)) = self.commits.next().await {
            match result {
                // Not all that came later builds on what was refused.
                Ok(positions) => self.committed(machine, number, positions),
                Err(error) => failed.push((number, error)),
            }
        }
        self.unheard.clear();
        let heads = self.config.store.heads(self.config.cid()).await?;
        for (number, error) in failed {
            if let StoreError::KeyUsed(id) = error {
                machine.key_was_used(number, id);
            }
        }
        let effects = machine.reload(heads, &ChannelError::Store(error.clone()), now());
        self.perform(effects);
        if !matches!(
            error,
            StoreError::KeyUsed(_) | StoreError::Gap { .. } | StoreError::Closed { .. }
        ) {
            tracing::warn!(%error, "the store refuses what arrives");
            self.trouble = Some((error.to_string(), Instant::now() + RECOVERY));
        }
        Ok(())
    }

    /// Says goodbye on all links and lets commits in flight end.
    async fn farewell(&mut self, machine: &mut Machine, events: &mut mpsc::Receiver<LinkEvent>) {
        let ending = async {
            while let Some((number, result)) = self.commits.next().await {
                if let Ok(positions) = result {
                    self.committed(machine, number, positions);
                }
            }
            for link in self.links.values() {
                link.handle.close(Reason::Stopping);
            }
            while !self.links.is_empty()
                && let Some(event) = events.recv().await
            {
                if let LinkEvent::Closed { link, .. } = event {
                    self.links.remove(&link);
                }
            }
        };
        // A link that says nothing any more is closed with its connection.
        let _ = timeout(GOODBYE, ending).await;
    }
}

impl Actor for Shell {
    type Msg = Command;
    type Error = StoreError;

    async fn run(mut self, inbox: &mut Inbox<Command>, scope: &Scope) -> Result<(), StoreError> {
        let mut machine = self.load().await?;
        let (sender, mut events) = mpsc::channel(LINK_EVENTS);
        let room = Arc::new(Notify::new());
        self.introduce(&mut machine);
        let mut reachable = self.config.relays.reachable();
        reachable.mark_changed();
        Self::open(Arc::clone(&self.config), sender, Arc::clone(&room)).await;
        loop {
            let recovering = self
                .trouble
                .as_ref()
                .map(|(_, until)| *until)
                .filter(|until| *until > Instant::now());
            let open = recovering.is_none() && machine.in_flight() < COMMITS;
            let wake = machine
                .next_wake(Instant::now())
                .into_iter()
                .chain(recovering)
                .chain(self.reading.due().filter(|_| open))
                .min();
            tokio::select! {
                biased;
                () = scope.stop_signal().cancelled() => {
                    self.farewell(&mut machine, &mut events).await;
                    return Ok(());
                }
                Some((number, result)) = self.commits.next(), if !self.commits.is_empty() => match result {
                    Ok(positions) => {
                        self.trouble = None;
                        self.committed(&mut machine, number, positions);
                    }
                    Err(error) => self.recover(&mut machine, number, error).await?,
                },
                Some(done) = self.reads.join_next(), if !self.reads.is_empty() => {
                    if let Ok(Some(done)) = done {
                        self.done(&mut machine, done);
                    }
                }
                Ok(()) = reachable.changed() => {
                    let reach = self.reach(&reachable.borrow_and_update());
                    self.step(&mut machine, Input::Reachable(reach));
                }
                () = room.notified() => self.room(&mut machine),
                Some(event) = events.recv(), if open => {
                    self.link_event(&mut machine, event);
                    // However much others say, the user has a turn in between.
                    for _ in 0..COMMANDS_A_TURN {
                        if machine.in_flight() >= COMMITS {
                            break;
                        }
                        let Ok(command) = inbox.try_recv() else { break };
                        self.command(&mut machine, command);
                    }
                }
                command = inbox.recv(), if open || recovering.is_some() => match command {
                    Some(Command::Say { reply, .. }) if recovering.is_some() => {
                        let why = self.trouble.as_ref().map(|(text, _)| text.clone()).unwrap_or_default();
                        let _ = reply.send(Err(ChannelError::Trouble(why)));
                    }
                    Some(command) => self.command(&mut machine, command),
                    None => return Ok(()),
                },
                () = sleep_until(wake.unwrap_or_else(far).into()), if wake.is_some() => {
                    self.step(&mut machine, Input::Tick);
                    if open && let Some(mark) = self.reading.take(Instant::now()) {
                        self.say_unasked(&mut machine, Body::read_mark(&mark));
                    }
                }
            }
        }
    }
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(3_600)
}

fn now() -> Now {
    // A clock before 1970 counts as 1970.
    let wall = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Now {
        at: Instant::now(),
        wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
    }
}
