use clap::CommandFactory as _;

use super::*;

#[test]
fn the_grammar_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_and_flag_explains_itself() {
    fn check(command: &clap::Command) {
        assert!(
            command.get_about().is_some(),
            "{} has no help",
            command.get_name()
        );
        for arg in command.get_arguments() {
            assert!(
                arg.get_help().is_some(),
                "{} {} has no help",
                command.get_name(),
                arg.get_id()
            );
        }
        for sub in command.get_subcommands() {
            if sub.get_subcommands().next().is_none() {
                assert!(
                    sub.get_after_help().is_some() || matches!(sub.get_name(), "help"),
                    "{} has no example",
                    sub.get_name()
                );
            }
            check(sub);
        }
    }
    check(&Cli::command());
}

#[test]
fn flags_may_stand_anywhere() {
    for args in [
        &["bitchat", "--json", "send", "ch", "hello", "--key", "k"][..],
        &["bitchat", "send", "--key", "k", "ch", "hello", "--json"],
        &["bitchat", "send", "ch", "--key", "k", "hello", "--json"],
    ] {
        let cli = Cli::try_parse_from(args).unwrap();
        assert!(cli.json);
        let Some(Command::Send(send)) = cli.command else {
            panic!("not a send");
        };
        assert_eq!(
            (send.text.as_str(), send.key.as_deref()),
            ("hello", Some("k"))
        );
    }
    let cli = Cli::try_parse_from(["bitchat", "send", "ch", "-"]).unwrap();
    assert!(matches!(cli.command, Some(Command::Send(s)) if s.text == "-"));
    assert!(Cli::try_parse_from(["bitchat"]).unwrap().command.is_none());
}

#[test]
fn a_search_may_name_a_channel() {
    for (args, words) in [
        (&["bitchat", "search", "dinner"][..], &["dinner"][..]),
        (
            &["bitchat", "search", "friends", "dinner", "--limit", "3"],
            &["friends", "dinner"],
        ),
    ] {
        let cli = Cli::try_parse_from(args).unwrap();
        assert!(matches!(cli.command, Some(Command::Search(s)) if s.words == words));
    }
    for bad in [
        &["bitchat", "search"][..],
        &["bitchat", "search", "a", "b", "c"],
    ] {
        assert!(Cli::try_parse_from(bad).is_err());
    }
}

#[test]
fn up_takes_every_flag() {
    let cli = Cli::try_parse_from([
        "bitchat",
        "up",
        "--port",
        "0",
        "--bind",
        "127.0.0.1",
        "--bind",
        "::1",
        "--api",
        "127.0.0.1:0",
        "--no-portmap",
        "--no-lan",
        "--no-dht",
        "--dht-bootstrap",
        "a:1",
        "--dht-bootstrap",
        "b:2",
        "--proxy",
        "socks5h://127.0.0.1:9050",
        "--paths",
        "tcp,relay",
    ])
    .unwrap();
    let Some(Command::Up(up)) = cli.command else {
        panic!("not up");
    };
    assert_eq!(up.port, Some(0));
    assert_eq!(up.bind.len(), 2);
    assert_eq!(up.paths.len(), 2);
    assert_eq!(up.dht_bootstrap.len(), 2);
}
