//! Messages.

use reqwest::Method;
use serde_json::json;

use super::Client;
use crate::{
    error::Failure,
    shapes::{
        Changed, LogQuery, Message, Messages, NewMessage, NewReaction, NewText, ReadTold, ReadUpTo,
        SearchQuery, Sent, Typing,
    },
};

impl Client {
    /// Sends a message, or a reply. With a key, it is sent once even if the connection breaks.
    pub async fn send(&self, channel: &str, message: &NewMessage) -> Result<Sent, Failure> {
        let segments = ["v1", "channels", channel, "messages"];
        match message.key {
            Some(_) => self.send_json_twice(Method::POST, &segments, message).await,
            None => self.send_json(Method::POST, &segments, message).await,
        }
    }

    /// Replaces the wording of a text. With a key, that happens once even if the connection breaks.
    pub async fn edit(
        &self,
        channel: &str,
        event: &str,
        text: &NewText,
    ) -> Result<Changed, Failure> {
        let segments = ["v1", "channels", channel, "messages", event];
        match text.key {
            Some(_) => self.send_json_twice(Method::PATCH, &segments, text).await,
            None => self.send_json(Method::PATCH, &segments, text).await,
        }
    }

    /// Deletes a text.
    pub async fn delete(&self, channel: &str, event: &str) -> Result<Changed, Failure> {
        self.remove(&["v1", "channels", channel, "messages", event])
            .await
    }

    /// Adds or removes a reaction.
    pub async fn react(
        &self,
        channel: &str,
        event: &str,
        reaction: &NewReaction,
    ) -> Result<Changed, Failure> {
        let segments = ["v1", "channels", channel, "messages", event, "reactions"];
        self.send_json(Method::POST, &segments, reaction).await
    }

    /// Returns one event in its current form.
    pub async fn message(&self, channel: &str, event: &str) -> Result<Message, Failure> {
        self.get(&["v1", "channels", channel, "messages", event], &[])
            .await
    }

    /// Returns a page of the log, oldest first.
    pub async fn messages(&self, channel: &str, query: &LogQuery) -> Result<Vec<Message>, Failure> {
        let segments = ["v1", "channels", channel, "messages"];
        let page: Messages = self.get(&segments, &query.pairs()).await?;
        Ok(page.messages)
    }

    /// Searches for texts; the last to arrive come first.
    pub async fn search(&self, query: &SearchQuery) -> Result<Vec<Message>, Failure> {
        let found: Messages = self.get(&["v1", "search"], &query.pairs()).await?;
        Ok(found.messages)
    }

    /// Notifies the members that the user is typing.
    pub async fn typing(&self, channel: &str) -> Result<Typing, Failure> {
        let segments = ["v1", "channels", channel, "typing"];
        self.send_json(Method::POST, &segments, &json!({})).await
    }

    /// Marks everything up to an event as read.
    pub async fn mark_read(&self, channel: &str, up_to: &ReadUpTo) -> Result<ReadTold, Failure> {
        let segments = ["v1", "channels", channel, "read"];
        self.send_json(Method::POST, &segments, up_to).await
    }
}
