//! `config`: showing and changing settings. No node is needed.

use clap::Subcommand;
use serde_json::{Value, json};

use super::out::Out;
use crate::{
    config::{self, Config, changed},
    error::Failure,
    home::Home,
    term::inert,
};

/// Show or change settings
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show all settings, or one
    #[command(after_help = "Examples:\n  bitchat config get\n  bitchat config get port")]
    Get {
        /// The setting; all, if left out
        key: Option<String>,
    },
    /// Change a setting; a running node applies it at its next start
    #[command(
        after_help = "Examples:\n  bitchat config set name Alice\n  bitchat config set port 40000\n  bitchat config set trackers http://a.example/announce,udp://b.example:6969"
    )]
    Set {
        /// The setting
        key: String,
        /// The new value; the values of a list are separated by commas
        #[arg(allow_negative_numbers = true)]
        value: String,
    },
    /// Reset a setting to its default
    #[command(after_help = "Example:\n  bitchat config unset port")]
    Unset {
        /// The setting
        key: String,
    },
}

impl Command {
    pub(super) fn run(self, home: &Home, out: Out) -> Result<(), Failure> {
        match self {
            Self::Get { key: Some(key) } => {
                let value = home.config()?.get(&key)?;
                out.show(&json!({key: value.clone()}), |_| shown(&value))
            }
            Self::Get { key: None } => {
                let config = home.config()?;
                let value = serde_json::to_value(&config)
                    .map_err(|e| Failure::new("internal", e.to_string()))?;
                out.show(&value, list)
            }
            Self::Set { key, value } => change(home, &key, Some(&value), out),
            Self::Unset { key } => change(home, &key, None, out),
        }
    }
}

fn change(home: &Home, key: &str, value: Option<&str>, out: Out) -> Result<(), Failure> {
    home.make()?;
    let text = changed(&home.config_text()?, key, value)?;
    home.set_config_text(&text)?;
    let value = Config::load(&text, |_| None)?.get(key)?;
    out.show(&json!({key: value.clone()}), |_| {
        let running = match home.running() {
            Ok(Some(_)) => " (the running node applies it at its next start)",
            _ => "",
        };
        format!("{key} = {}{running}", shown(&value))
    })
}

fn list(value: &Value) -> String {
    let lines: Vec<String> = config::keys()
        .map(|(key, about)| format!("{key:<14} {:<32} {about}", shown(&value[key])))
        .collect();
    lines.join("\n")
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "(unset)".to_owned(),
        Value::String(text) => inert(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(shown).collect();
            items.join(",")
        }
        other => other.to_string(),
    }
}
