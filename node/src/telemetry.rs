//! Logs: to standard error, so that standard output stays a program's; never in the library crates.

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

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
    let filter = EnvFilter::try_new(filter).map_err(|e| {
        Failure::new(
            "bad_config",
            format!("the log filter {filter:?} is not understood ({e}): try info, or bitchat_actors=debug"),
        )
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let done = match format {
        Format::Human => builder
            .with_ansi(std::io::stderr().is_terminal())
            .try_init(),
        Format::Json => builder.json().try_init(),
    };
    done.map_err(|e| Failure::new("internal", format!("logging did not start: {e}")))
}
