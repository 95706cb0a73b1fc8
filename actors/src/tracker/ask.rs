//! One announce to one tracker, whatever it speaks.

use std::time::Duration;

use super::{
    TrackerConfig,
    announce::Announce,
    http::Http,
    reply::{self, Answer, ReplyError, Retry},
    tiers::{Failure, Request},
    udp::{Body, UdpError},
    udp_client::UdpClient,
};

/// The two ways to ask.
pub(super) struct Clients {
    http: Http,
    udp: Option<UdpClient>,
}

/// An answer, and whether it came from a loopback, private or link-local address.
pub(super) struct Answered {
    pub(super) answer: Answer,
    pub(super) local: bool,
}

impl Clients {
    pub(super) fn new(config: &TrackerConfig) -> Result<Self, reqwest::Error> {
        Ok(Self {
            http: Http::new(config.is_local, config.proxy.as_ref())?,
            udp: config
                .udp
                .clone()
                .map(|udp| UdpClient::new(udp, config.is_local)),
        })
    }

    /// Announces, all of it within `limit`.
    pub(super) async fn ask(
        &self,
        request: &Request,
        announce: Announce<'_>,
        limit: Duration,
    ) -> Result<Answered, Failure> {
        if request.url.scheme() == "udp" {
            return self.ask_udp(request, announce, limit).await;
        }
        let plain = |text: String| Failure { text, retry: None };
        let body = self
            .http
            .get(announce.url(&request.url), limit)
            .await
            .map_err(|error| plain(error.to_string()))?;
        let answer = reply::parse(&body.bytes).map_err(|error| Failure {
            text: error.to_string(),
            retry: match error {
                ReplyError::Refused { retry, .. } => retry,
                _ => None,
            },
        })?;
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
        let end = match &self.udp {
            Some(udp) => {
                let body = Body::new(announce.datagram(), &request.url);
                udp.announce(&request.url, body, limit).await
            }
            None => Err(UdpError::NoUdp),
        };
        let (answer, local) = end.map_err(|error| Failure {
            text: error.to_string(),
            retry: (error == UdpError::NoUdp).then_some(Retry::Never),
        })?;
        Ok(Answered { answer, local })
    }
}
