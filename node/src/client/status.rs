//! The state of the node.

use super::Client;
use crate::{
    error::Failure,
    shapes::{Diagnosis, Status},
};

impl Client {
    /// Returns the state of the node.
    pub async fn status(&self) -> Result<Status, Failure> {
        self.get(&["v1", "status"], &[]).await
    }

    /// Reports what works, what does not, and what to do about it.
    pub async fn doctor(&self) -> Result<Diagnosis, Failure> {
        self.get(&["v1", "doctor"], &[]).await
    }
}
