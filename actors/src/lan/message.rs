//! The datagrams: a question for the service, and an announce of it. Pure.
//!
//! An announce is a PTR record that names an instance and a TXT record of that instance; no SRV, A or AAAA record, so
//! no host's name.

/// The service, label by label.
const SERVICE: [&[u8]; 3] = [b"_bitchat", b"_udp", b"local"];
/// Random bytes of an instance, whose name is their hexadecimal digits.
pub(super) const SALT: usize = 8;
/// Bytes of a tag.
pub(super) const TAG: usize = 12;
/// Tags in one announce, so that it fits into 1,472 bytes.
pub(super) const MAX_TAGS: usize = 100;
/// Tags in one string of a TXT record, which has at most 255 bytes.
const TAGS_A_STRING: usize = 20;
/// The largest datagram that is looked at: what an Ethernet carries in one.
pub(super) const MAX_MESSAGE: usize = 1_472;
/// For how long others may remember an announce, in seconds.
const TTL: u32 = 120;

const PTR: u16 = 12;
const TXT: u16 = 16;
const ANY: u16 = 255;
const IN: u16 = 1;
/// In a record: there is no other of that name. In a question: the answer may come to us alone.
const TOP: u16 = 0x8000;
/// An answer, with authority.
const RESPONSE: u16 = 0x8400;
/// Records of others' datagrams that are looked at.
const MAX_RECORDS: usize = 32;
/// Announces in one datagram that are looked at.
const MAX_ANNOUNCES: usize = 4;

/// What stands for a channel.
pub(super) type Tag = [u8; TAG];

/// What one node says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Announce {
    /// Its instance, chosen anew in each run.
    pub(super) salt: [u8; SALT],
    /// Where it answers.
    pub(super) port: u16,
    /// What it looks for.
    pub(super) tags: Vec<Tag>,
    /// It goes.
    pub(super) goodbye: bool,
}

/// What a datagram of another node says.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Message {
    /// Who is there?
    Question,
    /// We are. At least one.
    Announces(Vec<Announce>),
}

/// The question.
pub(super) fn question() -> Vec<u8> {
    let mut out = header(0, 1, 0);
    labels(&mut out, &SERVICE);
    out.extend(PTR.to_be_bytes());
    out.extend(IN.to_be_bytes());
    out
}

impl Announce {
    /// Of the tags, the first [`MAX_TAGS`].
    pub(super) fn write(&self) -> Vec<u8> {
        let ttl = if self.goodbye { 0 } else { TTL };
        let mut out = header(RESPONSE, 0, 2);
        let name = hex::encode(self.salt);
        let service = u16::try_from(out.len()).unwrap_or(0);
        let record = |out: &mut Vec<u8>, kind: u16, class: u16, data: &[u8]| {
            out.extend(kind.to_be_bytes());
            out.extend(class.to_be_bytes());
            out.extend(ttl.to_be_bytes());
            out.extend(u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
            out.extend(data);
        };
        let mut instance = vec![u8::try_from(name.len()).unwrap_or(0)];
        instance.extend(name.as_bytes());
        // The rest of the name stands where the service was written first (RFC 1035, 4.1.4).
        instance.extend((0xc000 | service).to_be_bytes());
        labels(&mut out, &SERVICE);
        record(&mut out, PTR, IN, &instance);
        let mut strings = Vec::new();
        let mut string = |text: &[u8]| {
            strings.push(u8::try_from(text.len()).unwrap_or(0));
            strings.extend(text);
        };
        string(format!("p={}", self.port).as_bytes());
        let tags = &self.tags[..self.tags.len().min(MAX_TAGS)];
        for (n, tags) in tags.chunks(TAGS_A_STRING).enumerate() {
            string(&[format!("t{n}=").as_bytes(), &tags.concat()].concat());
        }
        out.extend(&instance);
        record(&mut out, TXT, IN | TOP, &strings);
        out
    }
}

fn header(flags: u16, questions: u16, answers: u16) -> Vec<u8> {
    let mut out = Vec::with_capacity(MAX_MESSAGE);
    for field in [0, flags, questions, answers, 0, 0] {
        out.extend(field.to_be_bytes());
    }
    out
}

fn labels(out: &mut Vec<u8>, labels: &[&[u8]]) {
    for label in labels {
        out.push(u8::try_from(label.len()).unwrap_or(0));
        out.extend(*label);
    }
    out.push(0);
}

/// Reads a datagram; `None` if it is not about our service, or malformed.
pub(super) fn read(data: &[u8]) -> Option<Message> {
    if data.len() > MAX_MESSAGE {
        return None;
    }
    let mut reader = Reader { data, at: 0 };
    let [_, flags, questions, answers, ..] = {
        let mut fields = [0; 6];
        for field in &mut fields {
            *field = reader.u16()?;
        }
        fields
    };
    // Anything but a standard query or its answer, without an error.
    if flags & 0x780f != 0 {
        return None;
    }
    if flags & 0x8000 == 0 {
        for _ in 0..usize::from(questions).min(MAX_RECORDS) {
            let name = reader.name()?;
            let (kind, class) = (reader.u16()?, reader.u16()?);
            if is(&name, &SERVICE) && matches!(kind, PTR | ANY) && class & !TOP == IN {
                return Some(Message::Question);
            }
        }
        return None;
    }
    for _ in 0..usize::from(questions).min(MAX_RECORDS) {
        reader.name()?;
        reader.take(4)?;
    }
    let mut announces = Vec::new();
    for _ in 0..usize::from(answers).min(MAX_RECORDS) {
        let name = reader.name()?;
        let (kind, class, ttl) = (reader.u16()?, reader.u16()?, reader.u32()?);
        let length = reader.u16()?;
        let strings = reader.take(usize::from(length))?;
        let ours = name.split_first().filter(|(_, rest)| is(rest, &SERVICE));
        if let (Some((instance, _)), TXT, IN) = (ours, kind, class & !TOP)
            && announces.len() < MAX_ANNOUNCES
            && let Some(announce) = announce(instance, strings, ttl == 0)
        {
            announces.push(announce);
        }
    }
    (!announces.is_empty()).then_some(Message::Announces(announces))
}

fn announce(instance: &[u8], strings: &[u8], goodbye: bool) -> Option<Announce> {
    let mut salt = [0; SALT];
    hex::decode_to_slice(instance, &mut salt).ok()?;
    let (mut port, mut tags) = (None, Vec::new());
    let mut reader = Reader {
        data: strings,
        at: 0,
    };
    while reader.at < strings.len() {
        let length = reader.take(1)?[0];
        let string = reader.take(usize::from(length))?;
        match string {
            [b'p', b'=', digits @ ..] => {
                port = std::str::from_utf8(digits).ok()?.parse().ok();
            }
            [b't', b'0'..=b'9', b'=', bytes @ ..] => {
                tags.extend(bytes.chunks_exact(TAG).map(|tag| {
                    let mut out = [0; TAG];
                    out.copy_from_slice(tag);
                    out
                }));
            }
            // Whatever a later version adds.
            _ => {}
        }
    }
    tags.truncate(MAX_TAGS);
    Some(Announce {
        salt,
        port: port.filter(|port| *port != 0)?,
        tags,
        goodbye,
    })
}

fn is(name: &[&[u8]], other: &[&[u8]]) -> bool {
    let same = |(a, b): (&&[u8], &&[u8])| a.eq_ignore_ascii_case(b);
    name.len() == other.len() && name.iter().zip(other).all(same)
}

struct Reader<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.data.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from(self.u16()?) << 16 | u32::from(self.u16()?))
    }

    /// A name of at most 255 bytes. Its references lead backwards only, so that they end.
    fn name(&mut self) -> Option<Vec<&'a [u8]>> {
        let (mut labels, mut length) = (Vec::new(), 0);
        // Where to go on behind the name, once it led elsewhere.
        let mut behind = None;
        let mut before = self.at;
        loop {
            let first = usize::from(self.take(1)?[0]);
            match first {
                0 => break,
                1..=63 => {
                    labels.push(self.take(first)?);
                    length += first + 1;
                }
                0xc0.. => {
                    let target = (first & 0x3f) << 8 | usize::from(self.take(1)?[0]);
                    behind.get_or_insert(self.at);
                    if target >= before {
                        return None;
                    }
                    (self.at, before) = (target, target);
                }
                _ => return None,
            }
            if length > 254 {
                return None;
            }
        }
        if let Some(behind) = behind {
            self.at = behind;
        }
        Some(labels)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn sample(count: usize) -> Announce {
        Announce {
            salt: [7; SALT],
            port: 40_000,
            tags: (0..count).map(|n| [n as u8; TAG]).collect(),
            goodbye: false,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(read(&question()), Some(Message::Question));
        for count in [0, 1, 20, 21, MAX_TAGS] {
            let announce = sample(count);
            let written = announce.write();
            assert!(written.len() <= MAX_MESSAGE, "{}", written.len());
            assert_eq!(read(&written), Some(Message::Announces(vec![announce])));
        }
        let goodbye = Announce {
            goodbye: true,
            ..sample(3)
        };
        assert_eq!(
            read(&goodbye.write()),
            Some(Message::Announces(vec![goodbye]))
        );
        assert_eq!(
            read(&sample(MAX_TAGS + 1).write()),
            Some(Message::Announces(vec![sample(MAX_TAGS)]))
        );
    }

    #[test]
    fn an_announce_is_these_bytes() {
        let announce = Announce {
            salt: [0x5a; SALT],
            port: 7_000,
            tags: vec![[0x11; TAG]],
            goodbye: false,
        };
        let expected = [
            "000084000000000200000000",
            "085f62697463686174045f756470056c6f63616c00",
            "000c0001000000780013",
            "1035613561356135613561356135613561c00c",
            "1035613561356135613561356135613561c00c",
            "00108001000000780017",
            "06703d37303030",
            "0f74303d111111111111111111111111",
        ];
        assert_eq!(hex::encode(announce.write()), expected.concat());
        let expected = "000000000001000000000000085f62697463686174045f756470056c6f63616c00000c0001";
        assert_eq!(hex::encode(question()), expected);
    }

    #[test]
    fn what_is_about_others_or_malformed_is_passed_over() {
        let mut other = question();
        other[14] = b'x';
        assert_eq!(read(&other), None);
        let mut upper = question();
        upper[14] = b'B';
        assert_eq!(read(&upper), Some(Message::Question));
        // A name that refers to itself.
        let mut circle = header(0, 1, 0);
        circle.extend([0xc0, 12, 0, 12, 0, 1]);
        assert_eq!(read(&circle), None);
        let no_port = Announce {
            port: 0,
            ..sample(1)
        };
        assert_eq!(read(&no_port.write()), None);
        assert_eq!(read(&vec![0; MAX_MESSAGE + 1]), None);
        // Known answers within a question are no announces.
        let mut known = sample(1).write();
        known[2] = 0;
        assert_eq!(read(&known), None);
    }

    proptest! {
        #[test]
        fn bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            read(&bytes);
        }

        #[test]
        fn damage_does_no_harm(at in 0usize..300, to: u8, cut in 0usize..300) {
            let mut written = sample(22).write();
            let length = written.len();
            written[at % length] = to;
            written.truncate(length - cut.min(length));
            if let Some(Message::Announces(all)) = read(&written) {
                prop_assert!(all.iter().all(|one| one.tags.len() <= MAX_TAGS && one.port != 0));
            }
        }
    }
}
