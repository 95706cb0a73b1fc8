//! `status` and `doctor`: the state of the running node.

mod text;

use clap::Args;

use super::out::Out;
use crate::{client::Client, error::Failure, home::Home};

/// Show the running node's status
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bitchat status\n  bitchat status --json")]
pub(super) struct Status {}

impl Status {
    pub(super) async fn run(self, home: &Home, out: Out) -> Result<(), Failure> {
        out.show(&Client::of(home)?.status().await?, text::status)
    }
}

/// Report what works, what does not, and what to do about it
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bitchat doctor\n  bitchat doctor --json")]
pub(super) struct Doctor {}

impl Doctor {
    pub(super) async fn run(self, home: &Home, out: Out) -> Result<(), Failure> {
        out.show(&Client::of(home)?.doctor().await?, text::doctor)
    }
}
