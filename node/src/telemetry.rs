//! Logs: to standard error, so that standard output stays a program's; never in the library crates.

use serde::{Deserialize, Serialize};
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::error::Failure;

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Starts logging for the whole process. `filter` is as `RUST_LOG`: a level, or `target=level` pairs.
pub fn start(filter: &str, format: Format) -> Result<(), Failure> {
    use std::io::IsTerminal;
    // Not `EnvFilter`: it brings a machine for regular expressions, which an idle node would keep in memory.
    let filter: Targets = filter.parse().map_err(|e| {
        Failure::new(
            "bad_config",
            format!("the log filter {filter:?} is not understood ({e}): try info, or bitchat_actors=debug"),
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
    done.map_err(|e| Failure::new("internal", format!("logging did not start: {e}")))
}
