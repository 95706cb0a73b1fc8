//! The actor around the exchange with UDP trackers: it resolves names, has the node's UDP port, and answers the askers.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};
use url::{Host, Url};

use super::{
    race::both_families,
    reply::Answer,
    udp::{Ask, Body, Effect, Machine, UdpError},
};
use crate::transport::{Class, Udp, network::is_plausible};

/// Announces queued for the machine, which handles each in microseconds.
const ASKS: usize = 64;

struct Question {
    to: SocketAddr,
    body: Body,
    reply: oneshot::Sender<Result<Answer, UdpError>>,
}

/// The client for UDP trackers. Dropping it drops what is under way.
pub(super) struct UdpClient {
    udp: Udp,
    is_local: fn(IpAddr) -> bool,
    both_families: bool,
    asks: mpsc::Sender<Question>,
    _driver: JoinSet<()>,
}

impl UdpClient {
    pub(super) fn new(udp: Udp, is_local: fn(IpAddr) -> bool, both_families: bool) -> Self {
        let (asks, questions) = mpsc::channel(ASKS);
        let mut driver = JoinSet::new();
        let datagrams = udp.subscribe(Class::TrackerReply);
        driver.spawn(drive(udp.clone(), questions, datagrams));
        Self {
            udp,
            is_local,
            both_families,
            asks,
            _driver: driver,
        }
    }

    /// Announces once over each address family that the tracker and we have, as most clients do, since a tracker names
    /// peers of the family over which it is asked; or over the first one only, as the other clients do. Returns the
    /// answers merged, and whether the tracker is on a local network. The whole exchange takes at most `limit`.
    pub(super) async fn announce(
        &self,
        url: &Url,
        body: Body,
        limit: Duration,
    ) -> Result<(Answer, bool), UdpError> {
        timeout(limit, self.resolve_and_ask(url, body))
            .await
            .unwrap_or(Err(UdpError::TimedOut(limit)))
    }

    async fn resolve_and_ask(&self, url: &Url, body: Body) -> Result<(Answer, bool), UdpError> {
        let addresses = self.addresses(url).await?;
        let local = addresses
            .iter()
            .all(|address| (self.is_local)(address.ip()));
        let answer = match addresses[..] {
            [one] => self.ask(one, body).await?,
            [one, other] => {
                let (one, other) = (self.ask(one, body.clone()), self.ask(other, body));
                tokio::pin!(one, other);
                let is_unreachable = |error: &UdpError| *error == UdpError::Unreachable;
                both_families(one, other, Answer::merge, is_unreachable).await?
            }
            _ => return Err(UdpError::Unreachable),
        };
        Ok((answer, local))
    }

    /// At most one address per family, of the families that we have.
    async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, UdpError> {
        let port = url.port().ok_or(UdpError::NoSuchName)?;
        let all: Vec<SocketAddr> = match url.host().ok_or(UdpError::NoSuchName)? {
            Host::Ipv4(ip) => vec![(ip, port).into()],
            Host::Ipv6(ip) => vec![(ip, port).into()],
            Host::Domain(name) => tokio::net::lookup_host((name, port))
                .await
                .map_err(|_| UdpError::NoSuchName)?
                .collect(),
        };
        if all.is_empty() {
            return Err(UdpError::NoSuchName);
        }
        // The author of the URL also chooses the BEP 41 options that would be sent to a host on the local network.
        let local_too = url.query().is_none() && matches!(url.path(), "" | "/" | "/announce");
        let allowed: Vec<SocketAddr> = all
            .into_iter()
            .map(|one| SocketAddr::new(one.ip().to_canonical(), one.port()))
            .filter(|one| local_too || !(self.is_local)(one.ip()))
            .collect();
        if allowed.is_empty() {
            return Err(UdpError::PrivateTracker);
        }
        let first = |ipv6: bool| {
            allowed
                .iter()
                .find(|one| one.is_ipv6() == ipv6 && is_plausible(**one) && self.udp.reaches(ipv6))
                .copied()
        };
        let mut addresses: Vec<_> = [first(false), first(true)].into_iter().flatten().collect();
        if !self.both_families {
            addresses.truncate(1);
        }
        if addresses.is_empty() {
            return Err(UdpError::Unreachable);
        }
        Ok(addresses)
    }

    async fn ask(&self, to: SocketAddr, body: Body) -> Result<Answer, UdpError> {
        let (reply, answer) = oneshot::channel();
        let question = Question { to, body, reply };
        self.asks
            .send(question)
            .await
            .map_err(|_| UdpError::Stopped)?;
        answer.await.map_err(|_| UdpError::Stopped)?
    }
}

/// Runs the machine until the [`UdpClient`] is dropped, which drops this task and closes `questions`.
async fn drive(
    udp: Udp,
    mut questions: mpsc::Receiver<Question>,
    mut datagrams: mpsc::Receiver<(SocketAddr, Bytes)>,
) {
    let mut machine = Machine::default();
    let mut waiting: HashMap<Ask, oneshot::Sender<_>> = HashMap::new();
    let mut number: Ask = 0;
    loop {
        let mut effects = tokio::select! {
            biased;
            question = questions.recv() => {
                let Some(Question { to, body, reply }) = question else { return };
                waiting.retain(|ask, reply: &mut oneshot::Sender<_>| {
                    let wanted = !reply.is_closed();
                    if !wanted {
                        machine.cancel(*ask);
                    }
                    wanted
                });
                number += 1;
                waiting.insert(number, reply);
                machine.announce(number, to, body, now(), &mut rand::rng())
            }
            Some((from, bytes)) = datagrams.recv() => {
                machine.received(from, &bytes, now(), &mut rand::rng())
            }
        };
        while !effects.is_empty() {
            let mut more = Vec::new();
            for effect in effects {
                match effect {
                    Effect::Send(to, packet) => {
                        if let Err(error) = udp.send_to(to, &packet).await {
                            tracing::debug!(%to, %error, "cannot send to a tracker");
                            more.extend(machine.unreachable(to));
                        }
                    }
                    Effect::Done(ask, end) => {
                        if let Some(reply) = waiting.remove(&ask) {
                            // The asker may be gone.
                            let _ = reply.send(end);
                        }
                    }
                }
            }
            effects = more;
        }
    }
}

fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}
