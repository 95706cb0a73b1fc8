//! `init`, `id` and `config`: what a home holds; no node is needed.

use serde_json::{Value, json};

use super::{
    args::{ConfigCommand, Init},
    out::Out,
};
use crate::{
    config::{self, Config, changed},
    error::Failure,
    home::Home,
    term::inert,
};

/// Makes an identity.
pub(super) fn init(home: &Home, init: Init, out: Out) -> Result<(), Failure> {
    let name = init.name.unwrap_or_else(config::default_name);
    let id = home.init(&name)?.to_string();
    let value = json!({"id": id, "name": name, "home": home.root()});
    out.show(&value, |_| {
        format!(
            "{} is {id}\nNext: `bitchat up` starts the node.",
            inert(&name)
        )
    })
}

/// Shows the identity.
pub(super) fn id(home: &Home, out: Out) -> Result<(), Failure> {
    let id = home.require_identity()?.id().to_string();
    let name = home.config()?.name;
    out.show(&json!({"id": id, "name": name}), |_| id.clone())
}

/// Shows and changes settings.
pub(super) fn config(home: &Home, command: ConfigCommand, out: Out) -> Result<(), Failure> {
    match command {
        ConfigCommand::Get { key: Some(key) } => {
            let value = home.config()?.get(&key)?;
            out.show(&json!({key: value.clone()}), |_| shown(&value))
        }
        ConfigCommand::Get { key: None } => {
            let config = home.config()?;
            let value = serde_json::to_value(&config)
                .map_err(|e| Failure::new("internal", e.to_string()))?;
            out.show(&value, list)
        }
        ConfigCommand::Set { key, value } => change(home, &key, Some(&value), out),
        ConfigCommand::Unset { key } => change(home, &key, None, out),
    }
}

fn change(home: &Home, key: &str, value: Option<&str>, out: Out) -> Result<(), Failure> {
    home.make()?;
    let text = changed(&home.config_text()?, key, value)?;
    home.set_config_text(&text)?;
    let value = Config::load(&text, |_| None)?.get(key)?;
    out.show(&json!({key: value.clone()}), |_| {
        let running = match home.running() {
            Ok(Some(_)) => " (the running node takes it over at its next start)",
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
