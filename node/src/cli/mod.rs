//! The command line. Each capability has a file or folder with its arguments, what they do and how the results look
//! as text. All but `init`, `id`, `config`, `up`, `relay`, `completions` and `man` are clients of a running node's
//! local API.

mod channel;
mod chat;
mod config;
mod dht;
mod format;
mod generate;
mod identity;
mod members;
mod out;
mod profile;
mod relay;
mod source;
mod status;
mod target;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod up;

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};

use self::out::Out;
use crate::{error::Failure, home::Home, telemetry, term};

const FIRST_STEPS: &str = "\
First steps:
  bitchat init --name Alice                      create an identity (or let `up` create one)
  bitchat up                                     run the node; leave it open, continue in another terminal
  bitchat channel create friends --tracker http://tracker.example/announce --out friends.chat
  bitchat channel join friends.chat              what your friends do with that file
  bitchat send friends \"Hello!\"                  and `bitchat log friends --follow` to read

`bitchat` alone is `bitchat up`. `bitchat help COMMAND` has examples for each.";

/// Instant messaging with no server: members find each other, and talk directly.
#[derive(Debug, Parser)]
#[command(name = "bitchat", version, after_help = FIRST_STEPS, after_long_help = FIRST_STEPS)]
struct Cli {
    /// The folder of this profile [default: $XDG_DATA_HOME/bitchat or ~/.local/share/bitchat]
    #[arg(long, global = true, env = "BITCHAT_HOME", value_name = "DIR")]
    home: Option<PathBuf>,
    /// Print one JSON object per line on standard output, and errors as JSON on standard error
    #[arg(long, global = true)]
    json: bool,
    /// What to do; without a command, run the node
    #[command(subcommand)]
    command: Option<Command>,
}

/// Every command, in the order of the help. Its arguments, its help and its code are the capability's.
#[derive(Debug, Subcommand)]
enum Command {
    Init(identity::Init),
    Id(identity::Id),
    Up(up::Up),
    Relay(relay::Relay),
    Status(status::Status),
    Doctor(status::Doctor),
    Dht(dht::Dht),
    #[command(subcommand)]
    Config(config::Command),
    #[command(subcommand)]
    Channel(channel::Command),
    Send(chat::Send),
    Reply(chat::Reply),
    Edit(chat::Edit),
    Delete(chat::Delete),
    React(chat::React),
    Search(chat::Search),
    Typing(chat::Typing),
    Read(chat::Read),
    #[command(subcommand)]
    Profile(profile::Command),
    Log(chat::Log),
    Members(members::Members),
    Completions(generate::Completions),
    Man(generate::Man),
}

/// The command line with all its commands and options, for what is generated from it and checked against it.
pub fn command() -> clap::Command {
    Cli::command()
}

/// The whole program: parses the arguments, runs the command, and returns the exit status: 0 or 1.
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
                report(true, &Failure::new("usage", usage(&e)));
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
            report(json, &failure);
            ExitCode::FAILURE
        }
    }
}

/// Clap's error as one line without decoration.
fn usage(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join("; ").trim_start_matches("error: ").to_owned()
}

fn report(json: bool, failure: &Failure) {
    let text = if json {
        failure.to_json().to_string()
    } else {
        format!("bitchat: {}", term::inert(&failure.message))
    };
    // If even that cannot be written, there is still the exit status.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn run(cli: Cli) -> Result<(), Failure> {
    let out = Out { json: cli.json };
    // The home, for commands that log only warnings.
    let quiet = || {
        let home = Home::find(cli.home.as_deref())?;
        start_log()?;
        Ok::<_, Failure>(home)
    };
    let home = || Home::find(cli.home.as_deref());
    match cli.command.unwrap_or(Command::Up(up::Up::default())) {
        Command::Init(args) => args.run(&quiet()?, out),
        Command::Id(args) => args.run(&quiet()?, out),
        Command::Up(args) => args.run(&home()?),
        Command::Relay(args) => args.run(&home()?, out),
        Command::Status(args) => wait(args.run(&quiet()?, out)),
        Command::Doctor(args) => wait(args.run(&quiet()?, out)),
        Command::Dht(args) => wait(args.run(&quiet()?, out)),
        Command::Config(command) => command.run(&quiet()?, out),
        Command::Channel(command) => wait(command.run(&quiet()?, out)),
        Command::Send(args) => wait(args.run(&quiet()?, out)),
        Command::Reply(args) => wait(args.run(&quiet()?, out)),
        Command::Edit(args) => wait(args.run(&quiet()?, out)),
        Command::Delete(args) => wait(args.run(&quiet()?, out)),
        Command::React(args) => wait(args.run(&quiet()?, out)),
        Command::Search(args) => wait(args.run(&quiet()?, out)),
        Command::Typing(args) => wait(args.run(&quiet()?, out)),
        Command::Read(args) => wait(args.run(&quiet()?, out)),
        Command::Profile(command) => wait(command.run(&quiet()?, out)),
        Command::Log(args) => wait(args.run(&quiet()?, out)),
        Command::Members(args) => wait(args.run(&quiet()?, out)),
        Command::Completions(args) => args.run(),
        Command::Man(args) => args.run(),
    }
}

/// Starts the log of a command: its output is its result, but a warning (a folder was open to others) is worth a line.
fn start_log() -> Result<(), Failure> {
    telemetry::start(
        &std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".to_owned()),
        telemetry::Format::Human,
    )
}

/// Runs a command that waits for answers of the local API or of a relay.
fn wait(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new("internal", format!("cannot start: {e}")))?
        .block_on(command)
}
