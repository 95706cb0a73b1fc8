//! The local network as a source of addresses.

use std::task::{Context, Poll};

use bitchat_wire::channel::ChannelId;
use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::mpsc;

use super::{FOUND, Farewell, Report, Source, SourceKind, SourceState, SourceStatus};
use crate::{
    discovery::{DiscoveryStatus, Provenance, Sighting, Wanted, book::Tallies},
    lan::{Lan, LanPeer, LanStatus, Watch},
    transport::Target,
};

/// The local network, and what has been found in it.
pub(super) struct LanSource {
    /// `None`: it is off.
    lan: Option<Lan>,
    sender: mpsc::Sender<LanPeer>,
    found: mpsc::Receiver<LanPeer>,
}

impl LanSource {
    pub(super) fn new(lan: Option<Lan>) -> Self {
        let (sender, found) = mpsc::channel(FOUND);
        Self { lan, sender, found }
    }
}

impl Source for LanSource {
    fn want<'a>(&'a mut self, wanted: &'a Wanted) -> BoxFuture<'a, ()> {
        async move {
            if let Some(lan) = &self.lan {
                let watch = Watch {
                    cid: wanted.cid,
                    keys: wanted.keys.clone(),
                    found: self.sender.clone(),
                };
                lan.watch(watch).await;
            }
        }
        .boxed()
    }

    fn forget(&mut self, cid: ChannelId) -> BoxFuture<'_, Farewell> {
        async move {
            if let Some(lan) = &self.lan {
                lan.unwatch(cid).await;
            }
            Farewell::default()
        }
        .boxed()
    }

    fn announce(&mut self, _: ChannelId) -> BoxFuture<'_, ()> {
        async {
            if let Some(lan) = &self.lan {
                lan.ask().await;
            }
        }
        .boxed()
    }

    fn status(&self, cid: ChannelId) -> BoxFuture<'static, Box<dyn Report>> {
        let lan = self.lan.clone();
        async move {
            let status = match lan {
                Some(lan) => lan.status(cid).await,
                None => None,
            };
            Box::new(LanReport(status)) as Box<dyn Report>
        }
        .boxed()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(ChannelId, Sighting)> {
        let Poll::Ready(Some(LanPeer { cid, address })) = self.found.poll_recv(cx) else {
            return Poll::Pending;
        };
        let sighting = Sighting {
            peer: None,
            addresses: vec![Target::Direct(address)],
            source: Provenance::Lan,
            local: true,
            via: None,
        };
        Poll::Ready((cid, sighting))
    }
}

/// The local network for one channel; `None`: it is off.
pub(super) struct LanReport(pub(super) Option<LanStatus>);

impl Report for LanReport {
    fn add_to(self: Box<Self>, status: &mut DiscoveryStatus, tallies: &Tallies, _: bool) {
        let (mut state, mut about) = (SourceState::Off, String::new());
        if let Some(lan) = &self.0 {
            (state, about) = match (&lan.error, lan.networks, lan.last_announce) {
                (Some(error), 0, _) => (SourceState::Failing, error.clone()),
                (_, _, Some(_)) => (SourceState::Working, String::new()),
                (_, 0, None) => (SourceState::Waiting, String::new()),
                (_, _, None) => (
                    SourceState::Waiting,
                    "announced; no member was found here".to_owned(),
                ),
            };
        }
        let next_try = self.0.as_ref().and_then(|lan| lan.next_try);
        status.sources.push(SourceStatus {
            kind: SourceKind::Lan,
            state,
            last_success: self.0.as_ref().and_then(|lan| lan.last_announce),
            next_try: next_try.filter(|_| state == SourceState::Failing),
            linked: tallies.lan.linked,
            about,
        });
    }
}
