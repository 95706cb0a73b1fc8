//! Standard output. When its reader goes away (`| head`), the command ends silently.

use std::io::{self, Write};

use serde::Serialize;

use crate::error::Failure;

/// How to print results.
#[derive(Clone, Copy, Debug)]
pub(super) struct Out {
    /// Whether to print one JSON object per line instead of text.
    pub json: bool,
}

impl Out {
    /// Prints a result: as JSON, or as the text that `text` makes of it.
    pub(super) fn show<T: Serialize>(
        self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        if self.json {
            json(value)
        } else {
            line(&text(value))
        }
    }

    /// Prints each object of a list on a line of its own, or the text that `text` makes of the list.
    pub(super) fn show_each<T: Serialize>(
        self,
        list: &[T],
        text: impl FnOnce(&[T]) -> String,
    ) -> Result<(), Failure> {
        if self.json {
            list.iter().try_for_each(json)
        } else {
            line(&text(list))
        }
    }
}

/// Prints a value as JSON on a line, its keys sorted.
fn json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let value = serde_json::to_value(value).map_err(|e| Failure::new("internal", e.to_string()))?;
    line(&value.to_string())
}

/// Prints a line and flushes it.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush())
        .map_err(|e| ended(&e))
}

/// Converts an error of standard output; the code `closed_output` means that its reader went away.
pub(super) fn ended(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => {
            Failure::new("closed_output", "standard output was closed by its reader")
        }
        _ => Failure::new("io", format!("cannot write to standard output: {error}")),
    }
}
