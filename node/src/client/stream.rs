//! The event stream.

use std::collections::VecDeque;

use reqwest::{Method, Response};

use super::{Client, sse::Parser};
use crate::{
    error::Failure,
    shapes::{StreamEvent, StreamQuery},
};

impl Client {
    /// Opens the event stream.
    pub async fn events(&self, query: &StreamQuery) -> Result<Events, Failure> {
        let request = self.request(Method::GET, &["v1", "events"], &query.pairs())?;
        Ok(Events {
            response: self.answer(self.open(request).await)?,
            parser: Parser::default(),
            ready: VecDeque::new(),
        })
    }
}

/// An open event stream.
pub struct Events {
    response: Response,
    parser: Parser,
    /// Events of the last chunk that have not been returned yet.
    ready: VecDeque<StreamEvent>,
}

impl Events {
    /// Waits for the position at which the stream begins.
    pub async fn begin(&mut self) -> Result<u64, Failure> {
        while let Some(event) = self.next().await? {
            if let StreamEvent::Position(at) = event {
                return Ok(at.position);
            }
        }
        Err(Failure::new(
            "no_node",
            "the node closed the event stream before it began: try again",
        ))
    }

    /// Waits for the next event; `None` when the stream ends or the connection breaks.
    pub async fn next(&mut self) -> Result<Option<StreamEvent>, Failure> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            match self.response.chunk().await {
                Ok(Some(bytes)) => self.ready.extend(self.parser.feed(&bytes)?),
                Ok(None) | Err(_) => return Ok(None),
            }
        }
    }
}
