use super::*;

fn none(_: &str) -> Option<String> {
    None
}

#[test]
fn defaults_need_no_file() {
    assert_eq!(Config::load("", none).unwrap(), Config::default());
}

#[test]
fn the_environment_overrides_the_file() {
    let env = |key: &str| match key {
        "BITCHAT_PORT" => Some("2".to_owned()),
        "BITCHAT_BIND" => Some("127.0.0.1, ::1".to_owned()),
        "BITCHAT_LAN" => Some("no".to_owned()),
        _ => None,
    };
    let config = Config::load("port = 1\nname = \"ann\"", env).unwrap();
    assert_eq!(config.port, Some(2));
    assert_eq!(config.name, "ann");
    assert_eq!(config.bind.len(), 2);
    assert!(!config.lan);
    let error = Config::load("", |k| (k == "BITCHAT_PORT").then(|| "x".into())).unwrap_err();
    assert!(error.message.contains("BITCHAT_PORT"), "{error}");
}

#[test]
fn unknown_keys_are_named_with_the_nearest() {
    let error = Config::load("prot = 1", none).unwrap_err();
    assert!(error.message.contains("\"prot\""), "{error}");
    assert!(error.message.contains("\"port\""), "{error}");
    let error = Config::load("zzzzzzzzzzzzzz = 1", none).unwrap_err();
    assert!(error.message.contains("config get"), "{error}");
}

#[test]
fn bad_values_name_their_key() {
    for (text, part) in [
        ("port = 65536", "port"),
        ("bind = [\"x\"]", "bind"),
        ("api = \"0.0.0.0:1\"", "loopback"),
        ("name = \"\"", "1 to 64"),
        ("port = ", "TOML"),
        ("dht_bootstrap = [\"x\"]", "HOST:PORT"),
        ("disguise = \"azureus\"", "transmission-4.1"),
        ("paths = []", "at least one"),
        ("paths = [\"udp\"]", "quic"),
        ("paths = [\"quic\"]\nproxy = \"http://p:1\"", "proxy"),
    ] {
        let error = Config::load(text, none).unwrap_err();
        assert!(error.message.contains(part), "{text}: {error}");
    }
}

#[test]
fn settings_are_changed_and_removed() {
    let text = changed("port = 1", "trackers", Some("http://a/announce,udp://b:1")).unwrap();
    let config = Config::load(&text, none).unwrap();
    assert_eq!(config.trackers, ["http://a/announce", "udp://b:1"]);
    assert_eq!(config.get("port").unwrap(), 1);
    let text = changed(&text, "disguise", Some("qbittorrent-5.2")).unwrap();
    let config = Config::load(&text, none).unwrap();
    assert_eq!(config.disguise, Some(Disguise::Qbittorrent52));
    let text = changed(&text, "port", None).unwrap();
    assert_eq!(Config::load(&text, none).unwrap().port, None);
    assert!(changed("", "port", Some("70000")).is_err());
    assert!(changed("", "nope", Some("1")).is_err());
}

#[test]
fn every_key_is_listed() {
    let all = serde_json::to_value(Config::default()).unwrap();
    let mut fields: Vec<_> = all.as_object().unwrap().keys().cloned().collect();
    let mut listed: Vec<_> = keys().map(|(k, _)| k.to_owned()).collect();
    fields.sort();
    listed.sort();
    assert_eq!(fields, listed);
}
