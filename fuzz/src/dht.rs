//! The messages of the DHT.

use bitchat_actors::internals::dht::{
    Family, Saved,
    krpc::{
        Body, MAX_MESSAGE, MAX_NODES, MAX_TOKEN, MAX_TRANSACTION, MAX_VALUES, Message, Method, ParseError,
        compact::{put_address, read_address, read_nodes, write_nodes},
    },
};

/// Decodes the bytes as a datagram, as compact nodes, as an address, and as the state kept between runs.
pub fn krpc(data: &[u8]) {
    match Message::parse(data) {
        Ok(message) => accepted(&message),
        Err(ParseError::BadQuery { transaction, .. }) => assert!(transaction.len() <= MAX_TRANSACTION),
        Err(_) => {}
    }
    for family in Family::ALL {
        let nodes = read_nodes(data, family, MAX_NODES);
        assert!(nodes.len() <= MAX_NODES);
        assert!(data.starts_with(&write_nodes(&nodes, family)));
    }
    if let Some(address) = read_address(data) {
        let mut again = Vec::new();
        put_address(&mut again, address);
        assert_eq!(again, data);
    }
    let saved = Saved::decode(data);
    assert_eq!(Saved::decode(&saved.encode()), saved);
}

fn accepted(message: &Message) {
    assert!(message.transaction.len() <= MAX_TRANSACTION);
    match &message.body {
        Body::Response(response) => {
            let nodes = [&response.nodes, &response.nodes6];
            assert!(nodes.into_iter().flatten().all(|nodes| nodes.len() <= MAX_NODES));
            assert!(response.values.len() <= MAX_VALUES);
            assert!(response.token.as_ref().is_none_or(|token| token.len() <= MAX_TOKEN));
        }
        Body::Query(query) => {
            if let Method::AnnouncePeer { token, .. } = &query.method {
                assert!(token.len() <= MAX_TOKEN);
            }
        }
        Body::Error { .. } => {}
    }
    let again = message.encode();
    // IPv6 peers take 21 bytes each, so messages that we would not send may be longer than the input.
    if again.len() <= MAX_MESSAGE {
        assert_eq!(Message::parse(&again).as_ref(), Ok(message));
    }
}
