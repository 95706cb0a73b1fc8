//! The shell around the machine: it owns the channel's commits, links, commands and timers.

mod commands;
mod differences;
mod links;
mod perform;
mod recover;
mod state;

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bitchat_wire::{
    event::{Event, EventId, genesis_body},
    identity::{DeviceId, IdentityId},
};
use futures_util::{StreamExt, stream::FuturesOrdered};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::sleep_until,
};

use super::{
    api::{ChannelError, Reader},
    command::Command,
    config::ChannelConfig,
    effects::{Input, Now},
    machine::Machine,
};
use crate::{
    discovery::FoundBy,
    kit::{Actor, Inbox, Reply, Scope},
    link::{LinkEvent, LinkHandle, LinkId, Registration},
    store::StoreError,
};

/// Commands queued for the actor: those of one user and a few programs.
pub(super) const COMMANDS: usize = 256;
/// Commands handled between two link events.
const COMMANDS_A_TURN: usize = 16;
/// Link events queued for the actor. Each link keeps one place for its last event.
const LINK_EVENTS: usize = 1_024;
/// Commits in flight. Beyond, neither link events nor commands are taken until the disk has caught up.
const COMMITS: usize = 128;
/// Background tasks in flight that compare logs or report addresses. Beyond, new ones are dropped: a suspicion waits for
/// its next occasion.
const BACKGROUND: usize = 64;

type Commit = Pin<Box<dyn Future<Output = (u64, Result<Vec<u64>, StoreError>)> + Send>>;

/// The result of a background task.
enum Done {
    /// An input for the machine.
    Input(Box<Input>),
    /// A proven fork removed events from the log of this device.
    Removed(DeviceId),
}

/// Who waits for the result of an append.
enum Answer {
    /// Nobody: the channel appended on its own account.
    Nobody,
    User(Reply<Result<EventId, ChannelError>>),
    Leave(Reply<Result<(), ChannelError>>),
}

/// A link that is up.
struct Link {
    handle: LinkHandle,
    identity: IdentityId,
    /// How its address was found; `None` if the member connected to us.
    source: Option<FoundBy>,
}

/// One life of a channel's actor.
pub(super) struct Shell {
    config: Arc<ChannelConfig>,
    readers: Vec<Box<dyn Reader>>,
    links: HashMap<LinkId, Link>,
    answers: HashMap<u64, Answer>,
    next_token: u64,
    commits: FuturesOrdered<Commit>,
    /// Events of the commits in flight, for the readers once they are on the disk.
    unread: HashMap<u64, Vec<(IdentityId, Event)>>,
    background: JoinSet<Option<Done>>,
    /// Why the store refused last, and until when nothing new is given to it.
    trouble: Option<(String, Instant)>,
}

impl Shell {
    pub(super) fn new(config: Arc<ChannelConfig>) -> Self {
        Self {
            readers: config.readers.iter().map(|build| build()).collect(),
            config,
            links: HashMap::new(),
            answers: HashMap::new(),
            next_token: 0,
            commits: FuturesOrdered::new(),
            unread: HashMap::new(),
            background: JoinSet::new(),
            trouble: None,
        }
    }

    /// Loads what the store has. Returns the bodies that the readers want appended, too.
    async fn load(&mut self) -> Result<(Machine, Vec<Vec<u8>>), StoreError> {
        let config = Arc::clone(&self.config);
        let (store, cid) = (&config.store, config.cid());
        let heads = store.heads(cid).await?;
        let mut bodies = Vec::new();
        for reader in &mut self.readers {
            bodies.extend(reader.load(&heads).await?);
        }
        let (marks, proofs) = (store.deliveries(cid).await?, store.forks(cid).await?);
        let mut machine = Machine::new(
            cid,
            Arc::clone(&config.local),
            config.accept(),
            config.transport.peer_id(),
            heads,
            &marks,
            proofs,
        );
        machine.start_clock(config.clock);
        Ok((machine, bodies))
    }

    /// Registers with the links, and has discovery look for members.
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

    /// Begins our log if there is none, then appends what the readers found missing in it.
    fn introduce(&mut self, machine: &mut Machine, bodies: Vec<Vec<u8>>) {
        let certificate = self.config.local.certificate;
        if machine.logs().next(&machine.me()) == 0 {
            self.append(
                machine,
                Answer::Nobody,
                genesis_body(&certificate).to_vec(),
                None,
            );
        }
        for body in bodies {
            self.append(machine, Answer::Nobody, body, None);
        }
    }

    /// Has the machine write an event; `answer` gets the result once it is on the disk, or refused.
    fn append(
        &mut self,
        machine: &mut Machine,
        answer: Answer,
        body: Vec<u8>,
        key: Option<String>,
    ) {
        self.next_token += 1;
        let token = self.next_token;
        self.answers.insert(token, answer);
        self.step(machine, Input::Append { token, body, key });
    }

    fn step(&mut self, machine: &mut Machine, input: Input) {
        let effects = machine.handle(input, now());
        self.perform(effects);
    }
}

impl Actor for Shell {
    type Msg = Command;
    type Error = StoreError;

    async fn run(mut self, inbox: &mut Inbox<Command>, scope: &Scope) -> Result<(), StoreError> {
        let (mut machine, bodies) = self.load().await?;
        let (sender, mut events) = mpsc::channel(LINK_EVENTS);
        let room = Arc::new(Notify::new());
        self.introduce(&mut machine, bodies);
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
                Some(done) = self.background.join_next(), if !self.background.is_empty() => {
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
                    // However much the links deliver, the user has a turn in between.
                    for _ in 0..COMMANDS_A_TURN {
                        if machine.in_flight() >= COMMITS {
                            break;
                        }
                        let Ok(command) = inbox.try_recv() else { break };
                        self.command(&mut machine, command);
                    }
                }
                command = inbox.recv(), if open || recovering.is_some() => match command {
                    Some(Command::Append { reply, .. }) if recovering.is_some() => {
                        let why = self.trouble.as_ref().map(|(text, _)| text.clone()).unwrap_or_default();
                        let _ = reply.send(Err(ChannelError::Trouble(why)));
                    }
                    Some(command) => self.command(&mut machine, command),
                    None => return Ok(()),
                },
                () = sleep_until(wake.unwrap_or_else(far).into()), if wake.is_some() => {
                    self.step(&mut machine, Input::Tick);
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
