//! One network namespace: a host or a router of the lab.

use std::{
    fs::File,
    io::Write as _,
    os::fd::AsFd as _,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where `ip` keeps names of namespaces.
const NAMES: &str = "/run/netns";

/// Gives this run a folder of names of its own, and a loopback interface.
pub(super) fn prepare() {
    let prepared = std::fs::create_dir_all(NAMES)
        .map_err(anyhow::Error::from)
        .and_then(|()| run("mount", &["-t", "tmpfs", "lab", NAMES]))
        .and_then(|()| run("ip", &["link", "set", "lo", "up"]));
    if let Err(error) = prepared {
        panic!("{error:#}");
    }
}

/// Runs a command that must succeed.
pub(super) fn run(program: &str, args: &[&str]) -> Result<()> {
    feed(program, args, "")
}

/// The same, and gives it something to read.
pub(super) fn feed(program: &str, args: &[&str], input: &str) -> Result<()> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{program} does not start; ./test says what the tests need"))?;
    let mut stdin = child.stdin.take().context("a piped input")?;
    // One that ends without reading says why itself.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let done = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{program} {args:?}: {said}\n{input}");
    Ok(())
}

/// A network of its own.
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// A new one, with nothing but loopback.
    pub fn new(name: &str) -> Result<Self> {
        run("ip", &["netns", "add", name])?;
        let file = File::open(format!("{NAMES}/{name}"))?;
        let namespace = Self {
            name: name.to_owned(),
            file,
        };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// As `ip` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` with these commands in it, one a line.
    pub fn ip(&self, commands: &str) -> Result<()> {
        feed("ip", &["-n", &self.name, "-batch", "-"], commands)
    }

    /// Gives `nft` these rules in it.
    pub fn nft(&self, rules: &str) -> Result<()> {
        self.within(|| feed("nft", &["-f", "-"], rules))
    }

    /// Does something in it: sockets that are made belong to it, and processes that are started.
    ///
    /// # Panics
    /// As `act` does.
    pub fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            // Each thread has its own network. This one ends here, so nobody has to go back.
            if let Err(error) =
                move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
            {
                panic!("cannot enter {}: {error}", self.name);
            }
            act()
        };
        std::thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // It lasts for as long as a process runs in it.
        let _ = run("ip", &["netns", "delete", &self.name]);
    }
}
