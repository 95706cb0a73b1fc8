//! One announce to one tracker, or one scrape, over HTTP or UDP.

use std::time::Duration;

use super::{
    TrackerConfig,
    announce::{self, Announce},
    http::{Family, Http, HttpError},
    race::both_families,
    reply::{self, Answer, ReplyError, Retry},
    tiers::{Failure, Request},
    udp::{Body, UdpError},
    udp_client::UdpClient,
};
use crate::disguise::Disguise;

/// The HTTP and the UDP client.
pub(super) struct Clients {
    http: Http,
    udp: Option<UdpClient>,
    disguise: Disguise,
    /// Whether a proxy is used, which itself chooses the address family.
    proxied: bool,
}

/// An answer, and whether it came from a loopback, private or link-local address.
pub(super) struct Answered {
    pub(super) answer: Answer,
    pub(super) local: bool,
}

impl Clients {
    pub(super) fn new(config: &TrackerConfig) -> Result<Self, rustls::Error> {
        let disguise = config.torrents.disguise();
        Ok(Self {
            http: Http::new(config)?,
            udp: config
                .udp
                .clone()
                .map(|udp| UdpClient::new(udp, config.is_local, disguise.client().both_families)),
            disguise,
            proxied: config.proxy.is_some(),
        })
    }

    /// Announces; the whole exchange takes at most `limit`.
    pub(super) async fn ask(
        &self,
        request: &Request,
        announce: Announce<'_>,
        limit: Duration,
    ) -> Result<Answered, Failure> {
        if request.url.scheme() == "udp" {
            return self.ask_udp(request, announce, limit).await;
        }
        let url = announce.url(&request.url);
        let named = matches!(url.host(), Some(url::Host::Domain(_)));
        if !named || self.proxied || !self.disguise.client().both_families {
            return self.ask_http(url, None, limit).await.map_err(failure);
        }
        let four = self.ask_http(url.clone(), Some(Family::V4), limit);
        let six = self.ask_http(url, Some(Family::V6), limit);
        // Boxed, since each is a whole exchange.
        both_families(Box::pin(four), Box::pin(six), merge, is_unreachable)
            .await
            .map_err(failure)
    }

    /// Asks for the number of peers under these hashes, within `limit`. The answer is ignored.
    pub(super) async fn scrape(&self, tracker: &url::Url, hashes: &[[u8; 20]], limit: Duration) {
        if tracker.scheme() == "udp" {
            if let Some(udp) = &self.udp {
                let limit = limit.min(self.disguise.client().udp_timeout);
                // Nothing depends on the result.
                let _ = udp.announce(tracker, Body::scrape(hashes), limit).await;
            }
        } else if let Some(url) = announce::scrape_url(self.disguise, tracker, hashes) {
            let _ = self.http.get(url, None, limit).await;
        }
    }

    async fn ask_http(
        &self,
        url: url::Url,
        family: Option<Family>,
        limit: Duration,
    ) -> Result<Answered, AskError> {
        let body = self.http.get(url, family, limit).await?;
        let answer = reply::parse(&body.bytes)?;
        Ok(Answered {
            answer,
            local: body.local,
        })
    }

    async fn ask_udp(
        &self,
        request: &Request,
        announce: Announce<'_>,
        limit: Duration,
    ) -> Result<Answered, Failure> {
        let limit = limit.min(self.disguise.client().udp_timeout);
        let end = match &self.udp {
            Some(udp) => {
                let body = Body::announce(announce.datagram(&request.url));
                udp.announce(&request.url, body, limit).await
            }
            None => Err(UdpError::NoUdp),
        };
        let (answer, local) = end.map_err(|error| Failure {
            text: error.to_string(),
            retry: (error == UdpError::NoUdp).then_some(Retry::Never),
            silent: error.is_silence(),
        })?;
        Ok(Answered { answer, local })
    }
}

/// Why there is no answer over HTTP.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Reply(#[from] ReplyError),
}

fn failure(error: AskError) -> Failure {
    Failure {
        silent: matches!(&error, AskError::Http(error) if error.is_silence()),
        text: error.to_string(),
        retry: match error {
            AskError::Reply(ReplyError::Refused { retry, .. }) => retry,
            _ => None,
        },
    }
}

/// Whether an error means no more than that the tracker or we lack that address family.
fn is_unreachable(error: &AskError) -> bool {
    matches!(
        error,
        AskError::Http(HttpError::OtherFamily | HttpError::Unreachable)
    )
}

fn merge(a: Answered, b: Answered) -> Answered {
    Answered {
        answer: a.answer.merge(b.answer),
        local: a.local && b.local,
    }
}
