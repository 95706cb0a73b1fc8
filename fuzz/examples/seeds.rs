//! Writes an initial corpus: the test vectors, for the targets that decode such data, and some
//! handwritten inputs. `cargo run --manifest-path fuzz/Cargo.toml --example seeds`

use std::{fs, io, path::Path};

use serde_json::Value;

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let seeds = collect(&root.join("../tests/vectors"))?;
    for (target, seeds) in &seeds {
        let folder = root.join("corpus").join(target);
        fs::create_dir_all(&folder)?;
        for (n, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{n:03}")), seed)?;
        }
    }
    Ok(())
}

/// A target's name, and its seeds.
type Seeds = (&'static str, Vec<Vec<u8>>);

/// All targets with their seeds.
fn collect(vectors: &Path) -> io::Result<Vec<Seeds>> {
    let files = fields(&vectors.join("channel_file.json"), "file")?;
    let infos = fields(&vectors.join("channel_file.json"), "info")?;
    let events = fields(&vectors.join("events.json"), "event")?;
    let bodies = fields(&vectors.join("events.json"), "body")?;
    let messages = fields(&vectors.join("messages.json"), "message")?;
    let controls = fields(&vectors.join("messages.json"), "bytes")?;
    let hints: Vec<Vec<u8>> = [
        "ll8:http://aee",
        "ll3:dhti1eee",
        "l5:/ip4/e",
        "8:http://a",
        "6:Friend",
    ]
    .map(|hint| hint.as_bytes().to_vec())
    .into();
    let nested = [
        "l".repeat(1_000),
        "d1:a".repeat(1_000),
        "99999999999999999999:".into(),
        "i-0e".into(),
    ]
    .map(String::into_bytes);
    let id = b"bitchat1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq".to_vec();
    let lengths = |lengths: &[usize]| {
        lengths
            .iter()
            .flat_map(|len| [vec![0; *len], vec![0xff; *len]])
            .collect::<Vec<_>>()
    };
    Ok(vec![
        ("bencode", [&files[..], &infos, &nested].concat()),
        (
            "channel_file",
            [&files[..], &infos, &hints, &nested].concat(),
        ),
        ("channel_link", files),
        ("event", [events, bodies].concat()),
        ("message", messages),
        ("control", controls),
        ("identity", vec![id, vec![9; 32]]),
        ("handshake_m1", lengths(&[0, 1_216, 1_256, 1_257, 1_258])),
        ("handshake_m2", lengths(&[0, 1_336, 1_337, 1_338])),
        ("handshake_m3", lengths(&[0, 216, 217, 218])),
        ("renewal", lengths(&[0, 32, 1_216, 2_464])),
        ("krpc", krpc()),
        ("tracker_reply", trackers()),
        ("tracker_udp", lengths(&[0, 16, 200])),
        ("lan", lan()),
        (
            "sync",
            (0..16)
                .map(|n| (0..=255_u8).map(|m| m.wrapping_mul(2 * n + 1)).collect())
                .collect(),
        ),
        ("frame", lengths(&[0, 4, 80, 96, 1_000, 70_000])),
    ])
}

/// An announcement and a query.
fn lan() -> Vec<Vec<u8>> {
    let service = b"\x08_bitchat\x04_udp\x05local\0";
    let question = [b"\0\0\0\0\0\x01\0\0\0\0\0\0", &service[..], b"\0\x0c\0\x01"].concat();
    let instance = b"\x105a5a5a5a5a5a5a5a\xc0\x0c";
    let tags = b"\x06p=7000\x0ft0=twelve bytes";
    let announce = [
        b"\0\0\x84\0\0\0\0\x02\0\0\0\0",
        &service[..],
        b"\0\x0c\0\x01\0\0\0\x78\0\x13",
        instance,
        instance,
        b"\0\x10\x80\x01\0\0\0\x78\0\x17",
        tags,
    ]
    .concat();
    vec![question, announce]
}

/// The messages of BEP 5, and an answer as libtorrent sends it.
fn krpc() -> Vec<Vec<u8>> {
    let id = "id20:abcdefghij0123456789";
    let hash = "9:info_hash20:mnopqrstuvwxyz123456";
    let query =
        |arguments: &str, name: &str| format!("d1:ad2:{id}{arguments}e1:q{name}1:t2:aa1:y1:qe");
    let node = format!("abcdefghij0123456789{}", "a".repeat(6));
    [
        query("", "4:ping"),
        query(
            "6:target20:mnopqrstuvwxyz1234564:wantl2:n42:n6e",
            "9:find_node",
        ),
        query(hash, "9:get_peers"),
        query(
            &format!("12:implied_porti1e{hash}4:porti6881e5:token8:aoeusnth"),
            "13:announce_peer",
        ),
        format!("d1:rd2:{id}5:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re"),
        format!("d2:ip6:aaaaaa1:rd2:{id}5:nodes26:{node}1:pi6881ee1:t2:aa1:v4:LT021:y1:re"),
        "d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee".to_owned(),
    ]
    .map(String::into_bytes)
    .into()
}

/// Answers of HTTP trackers: compact, with dictionaries, refusing.
fn trackers() -> Vec<Vec<u8>> {
    [
        "d8:intervali1800e12:min intervali900e5:peers6:aaaaaa6:peers60:e",
        "d8:intervali60e5:peersld2:ip9:192.0.2.14:porti6881eee10:tracker id3:abce",
        "d14:failure reason4:full8:retry ini5ee",
        "d15:warning message4:slow11:external ip4:aaaa8:intervali9ee",
    ]
    .map(|answer| answer.as_bytes().to_vec())
    .into()
}

/// The bytes of every `key` in a file of vectors, at any depth.
fn fields(path: &Path, key: &str) -> io::Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    let mut open = vec![serde_json::from_str::<Value>(&fs::read_to_string(path)?)?];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(items) => {
                found.extend(
                    items
                        .get(key)
                        .and_then(Value::as_str)
                        .and_then(|text| hex::decode(text).ok()),
                );
                open.extend(items.into_iter().map(|(_, item)| item));
            }
            _ => {}
        }
    }
    Ok(found)
}
