//! Members.

use super::Client;
use crate::{
    error::Failure,
    shapes::{Member, Members},
};

impl Client {
    /// Lists the members of a channel, the user first.
    pub async fn members(&self, channel: &str) -> Result<Vec<Member>, Failure> {
        let segments = ["v1", "channels", channel, "members"];
        let list: Members = self.get(&segments, &[]).await?;
        Ok(list.members)
    }

    /// Returns a member's picture: a stranger's file.
    pub async fn member_picture(&self, channel: &str, member: &str) -> Result<Vec<u8>, Failure> {
        self.get_bytes(&["v1", "channels", channel, "members", member, "picture"])
            .await
    }
}
