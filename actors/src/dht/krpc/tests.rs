#![allow(clippy::unwrap_used)]
//! The examples of BEP 5 byte for byte, and the effect of hostile bytes.

use std::net::SocketAddr;

use proptest::{collection::vec, option, prelude::*};

use super::{compact::read_nodes, *};
use crate::dht::Family;

fn id(text: &[u8; 20]) -> Id {
    Id(*text)
}

fn asker() -> Id {
    id(b"abcdefghij0123456789")
}

fn answerer() -> Id {
    id(b"mnopqrstuvwxyz123456")
}

fn message(body: Body) -> Message {
    Message {
        transaction: b"aa".to_vec(),
        version: None,
        read_only: false,
        observed: None,
        body,
    }
}

fn query(method: Method) -> Message {
    message(Body::Query(Query {
        id: asker(),
        want: Want::default(),
        method,
    }))
}

/// These bytes parse to that message, and it encodes to them.
#[track_caller]
fn same(bytes: &[u8], message: &Message) {
    assert_eq!(
        String::from_utf8_lossy(&message.encode()),
        String::from_utf8_lossy(bytes)
    );
    assert_eq!(message.encode(), bytes);
    assert_eq!(Message::parse(bytes).as_ref(), Ok(message));
}

#[test]
fn the_examples_of_bep_5() {
    same(
        b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe",
        &query(Method::Ping),
    );
    same(
        b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re",
        &message(Body::Response(Response::new(answerer()))),
    );
    same(
        b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe",
        &query(Method::FindNode { target: answerer() }),
    );
    same(
        b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe",
        &query(Method::GetPeers {
            info_hash: answerer(),
            bootstrap: false,
        }),
    );
    same(
        b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re",
        &message(Body::Response(Response {
            token: Some(b"aoeusnth".to_vec()),
            values: vec![
                "97.120.106.101:11893".parse().unwrap(),
                "105.100.104.116:28269".parse().unwrap(),
            ],
            ..Response::new(asker())
        })),
    );
    same(
        b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe",
        &query(Method::AnnouncePeer {
            info_hash: answerer(),
            port: 6881,
            implied_port: Some(true),
            seed: None,
            token: b"aoeusnth".to_vec(),
        }),
    );
    same(
        b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee",
        &message(Body::Error {
            code: 201,
            text: "A Generic Error Ocurred".to_owned(),
        }),
    );
}

#[test]
fn the_extensions() {
    let mut asked = query(Method::FindNode { target: answerer() });
    if let Body::Query(query) = &mut asked.body {
        query.want = Want { v4: true, v6: true };
    }
    asked.read_only = true;
    asked.version = Some(b"LT\x02\x08".to_vec());
    same(
        b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz1234564:wantl2:n42:n6ee1:q9:find_node2:roi1e1:t2:aa1:v4:LT\x02\x081:y1:qe",
        &asked,
    );
    let mut answer = message(Body::Response(Response {
        nodes: Some(vec![Node {
            id: asker(),
            address: "1.2.3.4:258".parse().unwrap(),
        }]),
        nodes6: Some(vec![Node {
            id: asker(),
            address: "[6161:6161:6161:6161:6161:6161:6161:6161]:24929"
                .parse()
                .unwrap(),
        }]),
        port: Some(1),
        ..Response::new(answerer())
    }));
    answer.observed = Some("9.8.7.6:24929".parse().unwrap());
    same(
        b"d2:ip6:\x09\x08\x07\x06aa1:rd2:id20:mnopqrstuvwxyz1234565:nodes26:abcdefghij0123456789\x01\x02\x03\x04\x01\x026:nodes638:abcdefghij0123456789aaaaaaaaaaaaaaaaaa1:pi1ee1:t2:aa1:y1:re",
        &answer,
    );
}

#[test]
fn unusual_messages_of_other_nodes_are_accepted() {
    // Keys in another order, unknown keys, a very short and a long transaction id.
    let odd = b"d1:y1:q1:t0:1:q4:ping1:zli1ed1:x1:yee1:ad4:junk3:abc2:id20:abcdefghij0123456789ee";
    let read = Message::parse(odd).unwrap();
    assert!(read.transaction.is_empty());
    assert!(matches!(read.body, Body::Query(_)));
    let long = |len| {
        let mut message = query(Method::Ping);
        message.transaction = vec![7; len];
        Message::parse(&message.encode()).map(|message| message.transaction.len())
    };
    assert_eq!(long(64), Ok(64));
    assert_eq!(
        long(65),
        Err(ParseError::Missing("transaction id of a sane length"))
    );
    // BEP 44's `get` names a target; an unknown method need not.
    let other = |arguments: &str| {
        let text = format!("d1:ad2:id20:abcdefghij0123456789{arguments}e1:q3:get1:t1:x1:y1:qe");
        match Message::parse(text.as_bytes()).unwrap().body {
            Body::Query(query) => query.method,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        other("6:target20:mnopqrstuvwxyz123456"),
        Method::Other {
            target: Some(answerer())
        }
    );
    assert_eq!(other(""), Method::Other { target: None });
    // A text that is not text, in an error that is not a list.
    for error in ["li204e3:\u{1}xxe", "le", "i3e", "l3:abce", "d1:ai1ee"] {
        let text = format!("d1:e{error}1:t1:x1:y1:ee");
        assert!(matches!(
            Message::parse(text.as_bytes()).unwrap().body,
            Body::Error { .. }
        ));
    }
}

#[test]
fn bad_queries_keep_their_transaction_and_the_rest_is_dropped() {
    for (bad, what) in [
        ("d1:ad2:id3:abce1:q4:ping1:t2:aa1:y1:qe", "id"),
        ("d1:q4:ping1:t2:aa1:y1:qe", "arguments"),
        ("d1:ad2:id20:abcdefghij0123456789e1:t2:aa1:y1:qe", "method"),
        (
            "d1:ad2:id20:abcdefghij0123456789e1:q9:find_node1:t2:aa1:y1:qe",
            "target",
        ),
        (
            "d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz1234564:porti1ee1:q13:announce_peer1:t2:aa1:y1:qe",
            "token",
        ),
    ] {
        assert_eq!(
            Message::parse(bad.as_bytes()),
            Err(ParseError::BadQuery {
                transaction: b"aa".to_vec(),
                what
            }),
            "{bad}"
        );
    }
    for bad in [
        "",
        "de",
        "le",
        "i3e",
        "d1:t2:aae",
        "d1:t2:aa1:y1:re",
        "d1:t2:aa1:y1:xe",
        "d1:rd2:id1:ae1:t2:aa1:y1:re",
    ] {
        let error = Message::parse(bad.as_bytes()).unwrap_err();
        assert!(
            !matches!(error, ParseError::BadQuery { .. }),
            "{bad}: {error}"
        );
    }
    let deep = [b"d1:t2:aa1:x".as_slice(), &[b'l'; 500]].concat();
    assert!(matches!(Message::parse(&deep), Err(ParseError::Bencode(_))));
    assert_eq!(
        Message::parse(&[b'd'; MAX_MESSAGE + 1]),
        Err(ParseError::TooLong(MAX_MESSAGE + 1))
    );
}

#[test]
fn numbers_of_nodes_and_peers_are_bounded() {
    let nodes = vec![b'x'; 26 * 60];
    assert_eq!(read_nodes(&nodes, Family::V4, MAX_NODES).len(), MAX_NODES);
    assert_eq!(read_nodes(&nodes[..27], Family::V4, MAX_NODES).len(), 1);
    let mut text = b"d1:rd2:id20:abcdefghij01234567896:valuesl".to_vec();
    for _ in 0..150 {
        text.extend_from_slice(b"6:axje.u");
    }
    text.extend_from_slice(b"ee1:t2:aa1:y1:re");
    match Message::parse(&text).unwrap().body {
        Body::Response(response) => assert_eq!(response.values.len(), MAX_VALUES),
        other => panic!("{other:?}"),
    }
}

fn address(v6: bool) -> BoxedStrategy<SocketAddr> {
    if v6 {
        (any::<[u8; 16]>(), any::<u16>())
            .prop_map(|(ip, port)| SocketAddr::from((ip, port)))
            .boxed()
    } else {
        (any::<[u8; 4]>(), any::<u16>())
            .prop_map(|(ip, port)| SocketAddr::from((ip, port)))
            .boxed()
    }
}

fn some_id() -> impl Strategy<Value = Id> {
    any::<[u8; 20]>().prop_map(Id)
}

fn nodes(v6: bool) -> impl Strategy<Value = Option<Vec<Node>>> {
    let node = (some_id(), address(v6)).prop_map(|(id, address)| Node { id, address });
    option::of(vec(node, 0..=8))
}

fn method() -> impl Strategy<Value = Method> {
    prop_oneof![
        Just(Method::Ping),
        some_id().prop_map(|target| Method::FindNode { target }),
        (some_id(), any::<bool>()).prop_map(|(info_hash, bootstrap)| Method::GetPeers {
            info_hash,
            bootstrap
        }),
        (
            some_id(),
            any::<u16>(),
            option::of(any::<bool>()),
            option::of(any::<bool>()),
            vec(any::<u8>(), 0..=MAX_TOKEN)
        )
            .prop_map(|(info_hash, port, implied_port, seed, token)| {
                Method::AnnouncePeer {
                    info_hash,
                    port,
                    implied_port,
                    seed,
                    token,
                }
            }),
        option::of(some_id()).prop_map(|target| Method::Other { target }),
    ]
}

fn body() -> impl Strategy<Value = Body> {
    let want = any::<(bool, bool)>().prop_map(|(v4, v6)| Want { v4, v6 });
    let query = (some_id(), want, method())
        .prop_map(|(id, want, method)| Body::Query(Query { id, want, method }));
    let values = prop_oneof![vec(address(false), 0..20), vec(address(true), 0..20)];
    let response = (
        some_id(),
        nodes(false),
        nodes(true),
        option::of(any::<u16>()),
        option::of(vec(any::<u8>(), 0..=MAX_TOKEN)),
        values,
    )
        .prop_map(|(id, nodes, nodes6, port, token, values)| {
            Body::Response(Response {
                id,
                nodes,
                nodes6,
                port,
                token,
                values,
            })
        });
    let error =
        (any::<i64>(), "[a-zA-Z ]{0,40}").prop_map(|(code, text)| Body::Error { code, text });
    prop_oneof![query, response, error]
}

proptest! {
    #[test]
    fn every_message_survives(
        body in body(),
        transaction in vec(any::<u8>(), 0..=MAX_TRANSACTION),
        version in option::of(vec(any::<u8>(), 0..=4)),
        read_only: bool,
        observed in option::of(prop_oneof![address(false), address(true)]),
    ) {
        let message = Message { transaction, version, read_only, observed, body };
        prop_assert_eq!(Message::parse(&message.encode()), Ok(message));
    }

    #[test]
    fn damage_never_panics(body in body(), at in 0_usize..2_000, by in 1_u8.., cut in 0_usize..2_000) {
        let mut bytes = message(body).encode();
        let len = bytes.len();
        bytes[at % len] ^= by;
        let _ = Message::parse(&bytes);
        bytes.truncate(cut % (len + 1));
        let _ = Message::parse(&bytes);
    }

    #[test]
    fn what_is_read_is_written_the_same_ever_after(junk in "d1:[aeqrtvy0-9:dile]{0,60}") {
        if let Ok(read) = Message::parse(junk.as_bytes()) {
            let again = Message::parse(&read.encode());
            prop_assert_eq!(again, Ok(read));
        }
    }
}
