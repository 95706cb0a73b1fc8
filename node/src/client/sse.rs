//! Server-sent events, parsed line by line.

use crate::{error::Failure, shapes::StreamEvent};

/// Bound on a line, in bytes: a message of 65,536 bytes with every byte escaped, and its other fields, fit in.
const LINE_CAP: usize = 1024 * 1024;

/// Splits bytes, in whatever pieces they arrive, into events.
#[derive(Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    name: String,
    data: String,
}

impl Parser {
    /// Takes a piece; returns the events that it completes.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<StreamEvent>, Failure> {
        self.feed_with(bytes, |name, data| {
            StreamEvent::parse(name, data).map_err(|_| garbled("not the JSON of that event"))
        })
    }

    fn feed_with<T>(
        &mut self,
        bytes: &[u8],
        parse: impl Fn(&str, &str) -> Result<T, Failure>,
    ) -> Result<Vec<T>, Failure> {
        let mut events = Vec::new();
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            if self.line.len() + piece.len() > LINE_CAP {
                return Err(garbled("a line is too long"));
            }
            self.line.extend_from_slice(piece);
            if self.line.last() == Some(&b'\n') {
                let line = std::mem::take(&mut self.line);
                let line = std::str::from_utf8(&line).map_err(|_| garbled("not UTF-8"))?;
                if let Some((name, data)) = self.take(line.trim_end_matches(['\r', '\n']))? {
                    events.push(parse(&name, &data)?);
                }
            }
        }
        Ok(events)
    }

    /// Takes a line; returns the name and the data of the event that it completes.
    fn take(&mut self, line: &str) -> Result<Option<(String, String)>, Failure> {
        if line.is_empty() {
            let (name, data) = (
                std::mem::take(&mut self.name),
                std::mem::take(&mut self.data),
            );
            return Ok((!name.is_empty()).then_some((name, data)));
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
        format!(
            "cannot read the node's event stream ({what}): does it run another version of bitchat?"
        ),
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
                let raw = |name: &str, data: &str| Ok((name.to_owned(), data.to_owned()));
                events.extend(parser.feed_with(piece, raw).unwrap());
            }
            assert_eq!(events.len(), 2, "{size}");
            let (name, data) = &events[0];
            assert_eq!(name, "a");
            let data: serde_json::Value = serde_json::from_str(data).unwrap();
            assert_eq!(data["x"], 1);
            assert_eq!(events[1].0, "b");
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; LINE_CAP / 2 + 1];
        assert!(parser.feed(&piece).is_ok());
        assert!(parser.feed(&piece).is_err());
    }

    #[test]
    fn events_are_typed() {
        let mut parser = Parser::default();
        let stream = b"event: typing\ndata: {\"channel\":\"c\",\"member\":\"m\"}\n\nevent: missed\ndata: {}\n\nevent: later\ndata: 1\n\n";
        let events = parser.feed(stream).unwrap();
        assert!(matches!(&events[0], StreamEvent::Typing(typing) if typing.member == "m"));
        assert_eq!(events[1..], [StreamEvent::Missed, StreamEvent::Unknown]);
        assert!(parser.feed(b"event: position\ndata: {}\n\n").is_err());
    }
}
