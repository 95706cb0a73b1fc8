//! The datagrams: a query for the service, and an announce of it. Pure.
//!
//! An announce is a PTR record that names an instance and a TXT record of that instance; it has no SRV, A or AAAA
//! record, and so no host name.

use simple_dns::{
    CLASS, Name, OPCODE, Packet, PacketFlag, QTYPE, Question, RCODE, ResourceRecord, TYPE,
    header_buffer,
    rdata::{PTR, RData, TXT},
};

/// The name of the service.
const SERVICE: &str = "_bitchat._udp.local";
/// Random bytes of an instance, whose name is their hexadecimal digits.
pub(super) const SALT: usize = 8;
/// Bytes of a tag.
pub(super) const TAG: usize = 12;
/// Tags in one announce, so that it fits into 1,472 bytes.
pub(super) const MAX_TAGS: usize = 100;
/// Tags in one string of a TXT record, which has at most 255 bytes.
const TAGS_A_STRING: usize = 20;
/// The largest datagram that is read: the payload of one Ethernet frame.
pub(super) const MAX_MESSAGE: usize = 1_472;
/// How long others may cache an announce, in seconds.
const TTL: u32 = 120;
/// Questions and records that a datagram may claim to have: more do not fit into one.
const MAX_RECORDS: usize = 128;
/// Announces in one datagram that are read.
const MAX_ANNOUNCES: usize = 4;

/// A channel, as announced.
pub(super) type Tag = [u8; TAG];

/// The announce of one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Announce {
    /// Its instance, chosen at random in each run.
    pub(super) salt: [u8; SALT],
    /// The port at which it accepts connections.
    pub(super) port: u16,
    /// The channels that it announces.
    pub(super) tags: Vec<Tag>,
    /// Whether it is leaving.
    pub(super) goodbye: bool,
}

/// A datagram of another node.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Message {
    /// Asks which nodes are there.
    Question,
    /// Announces nodes, at least one.
    Announces(Vec<Announce>),
}

/// The bytes of the query.
pub(super) fn question() -> Vec<u8> {
    let mut packet = Packet::new_query(0);
    let service = Name::new_unchecked(SERVICE);
    let question = Question::new(service, TYPE::PTR.into(), CLASS::IN.into(), false);
    packet.questions.push(question);
    bytes(&packet)
}

impl Announce {
    /// The bytes of the announce, with the first [`MAX_TAGS`] of its tags.
    pub(super) fn write(&self) -> Vec<u8> {
        let name = format!("{}.{SERVICE}", hex::encode(self.salt));
        let instance = Name::new_unchecked(&name);
        let mut text = TXT::new();
        let mut add = |key: &str, value: &[u8]| {
            let added = text.add_attribute(key, Some(value));
            debug_assert!(added.is_ok(), "{key} is too long");
        };
        add("p", self.port.to_string().as_bytes());
        let tags = &self.tags[..self.tags.len().min(MAX_TAGS)];
        for (n, tags) in tags.chunks(TAGS_A_STRING).enumerate() {
            add(&format!("t{n}"), &tags.concat());
        }
        let ttl = if self.goodbye { 0 } else { TTL };
        let record = |name, data| ResourceRecord::new(name, CLASS::IN, ttl, data);
        let mut packet = Packet::new_reply(0);
        packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
        packet.answers = vec![
            record(
                Name::new_unchecked(SERVICE),
                RData::PTR(PTR(instance.clone())),
            ),
            // No other record has that name.
            record(instance, RData::TXT(text)).with_cache_flush(true),
        ];
        bytes(&packet)
    }
}

/// The bytes of a packet. Writing to memory does not fail for packets as small as ours.
fn bytes(packet: &Packet<'_>) -> Vec<u8> {
    packet.build_bytes_vec_compressed().unwrap_or_default()
}

/// Parses a datagram; `None` if it is malformed or not about our service.
pub(super) fn read(data: &[u8]) -> Option<Message> {
    if data.len() > MAX_MESSAGE || claimed(data)? > MAX_RECORDS {
        return None;
    }
    let packet = Packet::parse(data).ok()?;
    if packet.opcode() != OPCODE::StandardQuery || packet.rcode() != RCODE::NoError {
        return None;
    }
    let service = Name::new_unchecked(SERVICE);
    if !packet.has_flags(PacketFlag::RESPONSE) {
        let asks = |question: &Question<'_>| {
            question.qname == service
                && matches!(question.qtype, QTYPE::TYPE(TYPE::PTR) | QTYPE::ANY)
        };
        return packet
            .questions
            .iter()
            .any(asks)
            .then_some(Message::Question);
    }
    let ours = |record: &&ResourceRecord<'_>| record.name.is_subdomain_of(&service);
    let announces: Vec<Announce> = packet
        .answers
        .iter()
        .filter(ours)
        .filter_map(announce)
        .take(MAX_ANNOUNCES)
        .collect();
    (!announces.is_empty()).then_some(Message::Announces(announces))
}

/// The questions and records that a datagram's header claims: memory for them is reserved before they are read.
fn claimed(data: &[u8]) -> Option<usize> {
    let counts = [
        header_buffer::questions(data),
        header_buffer::answers(data),
        header_buffer::name_servers(data),
        header_buffer::additional_records(data),
    ];
    counts
        .into_iter()
        .try_fold(0, |sum, count| Some(sum + usize::from(count.ok()?)))
}

fn announce(record: &ResourceRecord<'_>) -> Option<Announce> {
    let RData::TXT(text) = &record.rdata else {
        return None;
    };
    let mut salt = [0; SALT];
    hex::decode_to_slice(record.name.get_labels().first()?, &mut salt).ok()?;
    let (mut port, mut tags) = (None, Vec::new());
    for (key, value) in text.iter_raw() {
        match (key, value.unwrap_or_default()) {
            (b"p", digits) => port = std::str::from_utf8(digits).ok()?.parse().ok(),
            ([b't', b'0'..=b'9'], bytes) => tags.extend(bytes.as_chunks().0),
            // Records that a later version may add.
            _ => {}
        }
    }
    tags.truncate(MAX_TAGS);
    Some(Announce {
        salt,
        port: port.filter(|port| *port != 0)?,
        tags,
        goodbye: record.ttl == 0,
    })
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
    fn messages_survive_encoding_and_parsing() {
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
            "c02b",
            "00108001000000780017",
            "06703d37303030",
            "0f74303d111111111111111111111111",
        ];
        assert_eq!(hex::encode(announce.write()), expected.concat());
        // Another encoder may write the name of the second record out again, except for the service.
        let longer = expected.concat().replace("c02b", expected[3]);
        let read = read(&hex::decode(longer).unwrap());
        assert_eq!(read, Some(Message::Announces(vec![announce])));
        let expected = "000000000001000000000000085f62697463686174045f756470056c6f63616c00000c0001";
        assert_eq!(hex::encode(question()), expected);
    }

    #[test]
    fn other_services_and_malformed_datagrams_are_ignored() {
        let mut other = question();
        other[14] = b'x';
        assert_eq!(read(&other), None);
        let mut upper = question();
        upper[14] = b'B';
        assert_eq!(read(&upper), Some(Message::Question));
        // A name that refers to itself.
        let mut circle = question()[..12].to_vec();
        circle.extend([0xc0, 12, 0, 12, 0, 1]);
        assert_eq!(read(&circle), None);
        // More records than it has, for which memory would be reserved.
        let mut boasts = sample(1).write();
        boasts[10] = 0xff;
        assert_eq!(read(&boasts), None);
        let no_port = Announce {
            port: 0,
            ..sample(1)
        };
        assert_eq!(read(&no_port.write()), None);
        assert_eq!(read(&vec![0; MAX_MESSAGE + 1]), None);
        // Known answers within a query are not announces.
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
