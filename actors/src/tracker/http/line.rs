//! One connection to one tracker, with requests one after the other.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
};

use hyper::{
    Request, Response, StatusCode,
    body::{Body as _, Incoming},
    client::conn::http1::{self, SendRequest},
    header::{self, HeaderMap},
};
use hyper_util::rt::TokioIo;

use super::{
    HttpError,
    connect::{Connected, Forward},
};
use crate::tracker::reply::MAX_BODY;

/// The longest head of an answer, in bytes.
const MAX_HEAD: usize = 64 * 1024;

type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection. It is driven by its user, and makes no progress otherwise.
pub(super) struct Line {
    send: SendRequest<String>,
    driver: Driver,
    /// Whether it leads to a local address.
    pub(super) local: bool,
    /// Set if it ends at a proxy.
    pub(super) forward: Option<Forward>,
}

/// An answer, still compressed.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// Whether the tracker accepts another request on the connection.
    pub(super) reusable: bool,
}

impl Line {
    pub(super) async fn new(connected: Connected) -> Result<Self, HttpError> {
        let Connected { io, local, forward } = connected;
        let (send, connection) = http1::Builder::new()
            .title_case_headers(true)
            .max_buf_size(MAX_HEAD)
            .handshake(TokioIo::new(io))
            .await
            .map_err(|_| HttpError::Broken)?;
        let driver = Box::pin(async move {
            // Its errors are also those of the request, which reports them.
            let _ = connection.await;
        });
        Ok(Self {
            send,
            driver,
            local,
            forward,
        })
    }

    /// Sends a request. `None` if the connection ended without an answer, because it was kept for too long.
    pub(super) async fn exchange(
        &mut self,
        request: Request<String>,
    ) -> Result<Option<Reply>, HttpError> {
        let Self { send, driver, .. } = self;
        let mut alive = true;
        let mut answer = pin!(async {
            match send.send_request(request).await {
                Ok(response) => read(response).await.map(Some),
                Err(error)
                    if error.is_canceled()
                        || error.is_closed()
                        || error.is_incomplete_message() =>
                {
                    Ok(None)
                }
                // A connection that is reset before any answer has ended as well.
                Err(error) if is_reset(&error) => Ok(None),
                Err(_) => Err(HttpError::Broken),
            }
        });
        let result = tokio::select! {
            biased;
            result = &mut answer => result,
            () = driver => {
                alive = false;
                answer.await
            }
        };
        result.map(|reply| {
            reply.map(|reply| Reply {
                reusable: reply.reusable && alive,
                ..reply
            })
        })
    }
}

fn is_reset(error: &hyper::Error) -> bool {
    use std::error::Error as _;
    let io = error
        .source()
        .and_then(|source| source.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| {
        matches!(
            io.kind(),
            std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe
        )
    })
}

/// Reads chunk by chunk, so that no claimed length makes it large. For a redirect or an error page the head is enough.
async fn read(response: Response<Incoming>) -> Result<Reply, HttpError> {
    let (head, body) = response.into_parts();
    let mut reply = Reply {
        status: head.status,
        reusable: !closes(&head.headers),
        headers: head.headers,
        body: Vec::new(),
    };
    if !reply.status.is_success() {
        reply.reusable = false;
        return Ok(reply);
    }
    let mut body = pin!(body);
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let frame = frame.map_err(|_| HttpError::Broken)?;
        let Some(piece) = frame.data_ref() else {
            continue;
        };
        if reply.body.len() + piece.len() > MAX_BODY {
            return Err(HttpError::TooLarge);
        }
        reply.body.extend_from_slice(piece);
    }
    Ok(reply)
}

fn closes(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONNECTION)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}
