//! Standard output. A reader that goes away (`| head`) ends the command without a word.

use std::io::{self, Write};

use serde_json::Value;

use crate::error::Failure;

/// How to print.
#[derive(Clone, Copy, Debug)]
pub struct Out {
    /// One JSON object a line.
    pub json: bool,
}

impl Out {
    /// Prints a result: the object itself, or what `text` makes of it.
    pub fn show(self, value: &Value, text: impl FnOnce(&Value) -> String) -> Result<(), Failure> {
        if self.json {
            line(&value.to_string())
        } else {
            line(&text(value))
        }
    }

    /// Prints each object of a list on a line of its own, or what `text` makes of them.
    pub fn show_each(
        self,
        list: &[Value],
        text: impl FnOnce(&[Value]) -> String,
    ) -> Result<(), Failure> {
        if !self.json {
            return line(&text(list));
        }
        list.iter().try_for_each(|value| line(&value.to_string()))
    }
}

/// Prints a line and flushes it.
pub fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush())
        .map_err(|e| ended(&e))
}

/// Why printing failed.
pub fn ended(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::new("closed_output", "nobody reads the output"),
        _ => Failure::new("io", format!("cannot print: {error}")),
    }
}

/// The string in that field; empty when there is none.
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}
