//! Logs: to standard error, because standard output is for programs. Only the program installs a subscriber, never
//! the library crates.

use serde::{Deserialize, Serialize};
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::error::Failure;

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Text for people.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

/// The log filter that was set: by a flag, otherwise by `RUST_LOG` if it is not empty.
pub fn filter(flag: Option<&str>) -> Option<String> {
    let environment = || std::env::var("RUST_LOG").ok();
    flag.map(str::to_owned)
        .or_else(|| environment().filter(|filter| !filter.is_empty()))
}

/// Starts logging for the whole process. `filter` has the syntax of `RUST_LOG`: a level, or `target=level` pairs.
pub fn start(filter: &str, format: Format) -> Result<(), Failure> {
    use std::io::IsTerminal;
    // Not `EnvFilter`: it brings a regular expression engine, which an idle node would keep in memory.
    let filter: Targets = filter.parse().map_err(|e| {
        Failure::new(
            "bad_config",
            format!(
                "the log filter {filter:?} is not valid ({e}): try info, or bitchat_actors=debug"
            ),
        )
    })?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let done = match format {
        Format::Human => tracing_subscriber::registry()
            .with(lines.with_ansi(std::io::stderr().is_terminal()))
            .with(filter)
            .try_init(),
        Format::Json => tracing_subscriber::registry()
            .with(lines.json())
            .with(filter)
            .try_init(),
    };
    done.map_err(|e| Failure::new("internal", format!("cannot start logging: {e}")))
}
