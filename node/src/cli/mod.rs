//! The command line. Each group of commands has a file; all but `up`, `init`, `id` and `config` are clients
//! of a running node's local API.

pub mod args;
mod channel;
mod conversation;
mod log;
pub mod out;
mod profile;
mod relay;
mod relay_check;
mod render;
mod send;
mod sse;
mod tracker;
mod up;

use std::{io::Write, process::ExitCode};

use clap::{CommandFactory, Parser};

use self::{
    args::{Cli, Command, DhtCommand},
    out::Out,
};
use crate::{client::Client, error::Failure, home::Home, telemetry, term};

/// The whole program: parses the arguments, does it, and says how it went by the exit status: 0 or 1.
pub fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(e) if !e.use_stderr() => {
            // Help and version.
            let _ = e.print();
            return ExitCode::SUCCESS;
        }
        Err(e) => {
            if args.iter().any(|arg| arg == "--json") {
                complain(true, &Failure::new("usage", usage(&e)));
            } else {
                let _ = e.print();
            }
            return ExitCode::FAILURE;
        }
    };
    let json = cli.json;
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.code == "closed_output" => ExitCode::SUCCESS,
        Err(failure) => {
            complain(json, &failure);
            ExitCode::FAILURE
        }
    }
}

/// Clap's error without its decoration.
fn usage(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join("; ").trim_start_matches("error: ").to_owned()
}

fn complain(json: bool, failure: &Failure) {
    let text = if json {
        failure.to_json().to_string()
    } else {
        format!("bitchat: {}", term::inert(&failure.message))
    };
    // Where even that cannot be written, the exit status has to do.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn run(cli: Cli) -> Result<(), Failure> {
    let out = Out { json: cli.json };
    let command = cli.command.unwrap_or(Command::Up(args::Up::default()));
    match command {
        Command::Completions { shell } => return completions(shell),
        Command::Man { dir } => return man(&dir),
        _ => {}
    }
    let home = Home::find(cli.home.as_deref())?;
    match command {
        Command::Up(flags) => return up::run(&home, &flags),
        Command::Relay(flags) if flags.check.is_none() => return relay::run(&home, &flags),
        _ => {}
    }
    // A tool says what it has to say by its result; a warning (a folder that was open, say) is worth a line.
    telemetry::start(
        &std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".to_owned()),
        telemetry::Format::Human,
    )?;
    match command {
        Command::Init(init) => profile::init(&home, init, out),
        Command::Id => profile::id(&home, out),
        Command::Config(command) => profile::config(&home, command, out),
        other => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Failure::new("internal", format!("cannot start: {e}")))?
            .block_on(ask(&home, other, out)),
    }
}

/// The commands that ask a running node.
async fn ask(home: &Home, command: Command, out: Out) -> Result<(), Failure> {
    match command {
        Command::Status => {
            let client = Client::of(home)?;
            let request = client.request(reqwest::Method::GET, &["v1", "status"])?;
            out.show(&client.json(request).await?, render::status)
        }
        Command::Doctor => {
            let client = Client::of(home)?;
            let request = client.request(reqwest::Method::GET, &["v1", "doctor"])?;
            out.show(&client.json(request).await?, render::doctor)
        }
        Command::Relay(flags) => relay_check::run(home, &flags, out).await,
        Command::Dht { command } => dht(home, command, out).await,
        Command::Channel(command) => channel::run(home, command, out).await,
        Command::Send(send) => send::run(home, send, out).await,
        Command::Reply(reply) => send::reply(home, reply, out).await,
        Command::Edit(edit) => send::edit(home, edit, out).await,
        Command::Delete(of) => conversation::delete(home, &of, out).await,
        Command::React(react) => conversation::react(home, &react, out).await,
        Command::Search(search) => conversation::search(home, search, out).await,
        Command::Typing(of) => conversation::typing(home, &of.channel, out).await,
        Command::Read(of) => conversation::read(home, &of, out).await,
        Command::Profile(command) => conversation::profile(home, command, out).await,
        Command::Log(log) => log::run(home, log, out).await,
        Command::Members(of) => channel::members(home, &of.channel, out).await,
        _ => Err(Failure::new("internal", "not a command of a running node")),
    }
}

async fn dht(home: &Home, command: Option<DhtCommand>, out: Out) -> Result<(), Failure> {
    let client = Client::of(home)?;
    match command {
        None => {
            let request = client.request(reqwest::Method::GET, &["v1", "dht"])?;
            out.show(&client.json(request).await?, render::dht)
        }
        Some(DhtCommand::Get { hash }) => {
            let request = client.request(reqwest::Method::GET, &["v1", "dht", &hash])?;
            out.show(&client.json(request).await?, render::dht_found)
        }
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "bitchat", &mut script);
    std::io::stdout()
        .write_all(&script)
        .map_err(|e| out::ended(&e))
}

fn man(dir: &std::path::Path) -> Result<(), Failure> {
    std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
        .map_err(|e| Failure::io("write manual pages into", dir, &e))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
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
}
