//! `completions` and `man`: files made from the grammar of the command line.

use std::{io::Write as _, path::PathBuf};

use clap::{Args, CommandFactory as _};

use super::{Cli, out};
use crate::error::Failure;

/// Write completions for a shell to standard output
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  bitchat completions bash > ~/.local/share/bash-completion/completions/bitchat"
)]
pub(super) struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

impl Completions {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "bitchat", &mut script);
        std::io::stdout()
            .write_all(&script)
            .map_err(|e| out::ended(&e))
    }
}

/// Write manual pages into a folder
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  bitchat man ~/.local/share/man/man1")]
pub(super) struct Man {
    /// The folder; created if missing
    dir: PathBuf,
}

impl Man {
    pub(super) fn run(self) -> Result<(), Failure> {
        std::fs::create_dir_all(&self.dir)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), &self.dir))
            .map_err(|e| Failure::io("write manual pages into", &self.dir, &e))
    }
}
