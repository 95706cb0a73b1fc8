//! Server-sent events, read line by line.

use serde_json::Value;

use crate::error::Failure;

/// No line of the stream is longer: a message of 65,536 bytes with every byte escaped, and its frame.
const LINE_CAP: usize = 1024 * 1024;

/// An event of the stream.
#[derive(Debug, PartialEq)]
pub(super) struct Event {
    /// Its name.
    pub name: String,
    /// Its JSON.
    pub data: Value,
}

/// Splits bytes, in whatever pieces they come, into events.
#[derive(Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    name: String,
    data: String,
}

impl Parser {
    /// Takes a piece; returns the events that it completes.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>, Failure> {
        let mut events = Vec::new();
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            if self.line.len() + piece.len() > LINE_CAP {
                return Err(garbled("a line is too long"));
            }
            self.line.extend_from_slice(piece);
            if self.line.last() == Some(&b'\n') {
                let line = std::mem::take(&mut self.line);
                let line = std::str::from_utf8(&line).map_err(|_| garbled("not UTF-8"))?;
                if let Some(event) = self.take(line.trim_end_matches(['\r', '\n']))? {
                    events.push(event);
                }
            }
        }
        Ok(events)
    }

    fn take(&mut self, line: &str) -> Result<Option<Event>, Failure> {
        if line.is_empty() {
            let (name, data) = (
                std::mem::take(&mut self.name),
                std::mem::take(&mut self.data),
            );
            if name.is_empty() {
                return Ok(None);
            }
            let data = serde_json::from_str(&data).map_err(|_| garbled("not JSON"))?;
            return Ok(Some(Event { name, data }));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if self.data.len() + value.len() > LINE_CAP {
                    return Err(garbled("an event is too long"));
                }
                self.data.push_str(value);
            }
            // Comments keep the stream alive; the position is in the data as well.
            _ => {}
        }
        Ok(None)
    }
}

fn garbled(what: &str) -> Failure {
    Failure::new(
        "internal",
        format!("the node's stream is not understood ({what}): is it another version?"),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn any_pieces_make_the_same_events() {
        let stream = b": hi\n\nevent: a\nid: 1\ndata: {\"x\":1}\n\nevent:b\r\ndata: []\r\n\r\n\n";
        for size in 1..stream.len() {
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for piece in stream.chunks(size) {
                events.extend(parser.feed(piece).unwrap());
            }
            assert_eq!(events.len(), 2, "{size}");
            assert_eq!(events[0].name, "a");
            assert_eq!(events[0].data["x"], 1);
            assert_eq!(events[1].name, "b");
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; LINE_CAP / 2 + 1];
        assert!(parser.feed(&piece).is_ok());
        assert!(parser.feed(&piece).is_err());
    }
}
