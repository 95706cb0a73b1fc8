//! One network namespace: a host or a router of the lab.

use std::{
    fs::File,
    io::Write as _,
    os::fd::AsFd as _,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The folder in which `ip` keeps the names of namespaces.
const NAMES: &str = "/run/netns";

/// Gives this run its own folder of names, and a loopback interface.
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

/// Runs a command with input that must succeed.
pub(super) fn feed(program: &str, args: &[&str], input: &str) -> Result<()> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{program} does not start; ./test says what the tests need"))?;
    let mut stdin = child.stdin.take().context("a piped input")?;
    // A command that ends without reading reports the reason itself.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let done = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{program} {args:?}: {said}\n{input}");
    Ok(())
}

/// A network namespace; removed when dropped.
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// Creates one with only a loopback interface.
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

    /// The name by which `ip` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` with these commands in it, one per line.
    pub fn ip(&self, commands: &str) -> Result<()> {
        feed("ip", &["-n", &self.name, "-batch", "-"], commands)
    }

    /// Loads these `nft` rules in it.
    pub fn nft(&self, rules: &str) -> Result<()> {
        self.within(|| feed("nft", &["-f", "-"], rules))
    }

    /// Runs `act` in it: sockets and processes that `act` creates belong to it.
    ///
    /// # Panics
    /// When `act` panics.
    pub fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            // Each thread has its own network. This one ends here, so it need not return to the previous one.
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
        // The namespace exists as long as a process runs in it.
        let _ = run("ip", &["netns", "delete", &self.name]);
    }
}
