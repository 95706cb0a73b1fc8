//! `init` and `id`: the identity of a home. No node is needed.

use clap::Args;
use serde_json::json;

use super::out::Out;
use crate::{config, error::Failure, home::Home, term::inert};

/// Create an identity in a home that has none
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bitchat init --name Alice")]
pub(super) struct Init {
    /// The name that others see; 1 to 64 bytes [default: your user name]
    #[arg(long)]
    name: Option<String>,
}

impl Init {
    pub(super) fn run(self, home: &Home, out: Out) -> Result<(), Failure> {
        let name = self.name.unwrap_or_else(config::default_name);
        let id = home.init(&name)?.to_string();
        let value = json!({"id": id, "name": name, "home": home.root()});
        out.show(&value, |_| {
            format!(
                "{} is {id}\nNext: `bitchat{} up` starts the node.",
                inert(&name),
                home.flag()
            )
        })
    }
}

/// Show your Bit Chat ID
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bitchat id")]
pub(super) struct Id {}

impl Id {
    pub(super) fn run(self, home: &Home, out: Out) -> Result<(), Failure> {
        let id = home.require_identity()?.id().to_string();
        let name = home.config()?.name;
        out.show(&json!({"id": id, "name": name}), |_| id.clone())
    }
}
