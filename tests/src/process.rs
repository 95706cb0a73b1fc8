//! The real program, as a user runs it: `bitchat up` in its own home, and commands beside it.
//!
//! The program is the one beside the test or benchmark itself (`target/PROFILE/bitchat`), which `cargo test --workspace`
//! builds. If it is missing or older than its sources (as with `cargo test -p bitchat-tests`), it is built with cargo
//! in the same profile. `BITCHAT_BIN` names another one.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{OnceLock, mpsc},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Time limit of a start, generous for a busy machine.
const READY: Duration = Duration::from_secs(60);
/// Settings that isolate a test's node.
pub const ALONE: &[&str] = &[
    "--bind",
    "127.0.0.1",
    "--no-portmap",
    "--no-lan",
    "--no-dht",
];

/// The program under test.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match find_binary() {
        Ok(path) => path,
        Err(error) => panic!("there is no program to test: {error:#}"),
    })
}

fn find_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("BITCHAT_BIN") {
        return Ok(PathBuf::from(path));
    }
    // target/PROFILE/deps/TEST-0123456789abcdef, or target/PROFILE/bench
    let test = std::env::current_exe()?;
    let profile_dir = test
        .ancestors()
        .skip(1)
        .find(|folder| !folder.ends_with("deps"))
        .context("the test is in no target folder")?;
    let path = profile_dir.join("bitchat");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("no workspace")?;
    let built = path.metadata().and_then(|m| m.modified()).ok();
    let sources = ["wire/src", "actors/src", "node/src", "migrations"]
        .iter()
        .filter_map(|dir| newest(&workspace.join(dir)))
        .max();
    if built.is_some() && built >= sources {
        return Ok(path);
    }
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(other) => other,
        None => bail!("the target folder has no name"),
    };
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(workspace)
        // With the features that the tests were built with; otherwise everything would be built twice.
        .args(["build", "--quiet", "--workspace", "--bin", "bitchat"])
        .args(["--profile", profile, "--target-dir"])
        .arg(profile_dir.parent().context("no target folder")?)
        .status()
        .context("cargo does not start")?;
    ensure!(status.success(), "cargo build failed");
    Ok(path)
}

fn newest(dir: &Path) -> Option<SystemTime> {
    std::fs::read_dir(dir)
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let path = entry.path();
            if path.is_dir() {
                newest(&path)
            } else {
                path.metadata().and_then(|m| m.modified()).ok()
            }
        })
        .max()
}

/// The program with a home, isolated from the settings of the user who runs the tests.
pub fn command(home: &Path) -> Command {
    let mut command = Command::new(binary());
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("BITCHAT_") {
            command.env_remove(key);
        }
    }
    command
        .env_remove("RUST_LOG")
        .arg("--home")
        .arg(home)
        .stdin(Stdio::null());
    command
}

/// The result of a command.
#[derive(Debug)]
pub struct Done {
    /// The exit status; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Done {
    /// The JSON objects that it printed.
    pub fn lines(&self) -> Result<Vec<Value>> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}")))
            .collect()
    }

    /// The code of the error that it printed as JSON; fails unless it exited with status 1.
    pub fn error_code(&self) -> Result<String> {
        ensure!(
            self.code == Some(1) && self.out.is_empty(),
            "not a clean failure: {self:?}"
        );
        let error: Value = serde_json::from_str(self.err.trim())
            .with_context(|| format!("not JSON: {:?}", self.err))?;
        ensure!(
            error["error"]["message"]
                .as_str()
                .is_some_and(|m| !m.is_empty()),
            "no message: {error}"
        );
        error["error"]["code"]
            .as_str()
            .map(str::to_owned)
            .context("no code")
    }
}

/// Runs a command with `--json`, which may fail.
pub fn try_cli(home: &Path, args: &[&str]) -> Result<Done> {
    let output = command(home).arg("--json").args(args).output()?;
    Ok(Done {
        code: output.status.code(),
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}

/// Runs a command with `--json` that must succeed; returns the objects that it prints.
pub fn cli(home: &Path, args: &[&str]) -> Result<Vec<Value>> {
    let done = try_cli(home, args)?;
    ensure!(done.code == Some(0), "bitchat {args:?}: {done:?}");
    done.lines()
}

/// Runs a command with `--json` that must succeed and print one object.
pub fn cli_one(home: &Path, args: &[&str]) -> Result<Value> {
    let lines = cli(home, args)?;
    match <[Value; 1]>::try_from(lines) {
        Ok([one]) => Ok(one),
        Err(lines) => bail!("bitchat {args:?} printed {} lines", lines.len()),
    }
}

/// A running `bitchat up`. Killed when dropped.
pub struct NodeProcess {
    child: Child,
    home: PathBuf,
    /// The JSON line that it printed when it was ready.
    pub ready: Value,
}

impl NodeProcess {
    /// Starts a node and waits until it is ready. Its log goes to `HOME.log`, beside the home.
    pub fn up(home: &Path, args: &[&str]) -> Result<Self> {
        Self::run("up", home, args)
    }

    /// Starts a relay and waits until it is ready.
    pub fn relay(home: &Path, args: &[&str]) -> Result<Self> {
        Self::run("relay", home, args)
    }

    fn run(what: &str, home: &Path, args: &[&str]) -> Result<Self> {
        let log = log_of(home);
        let mut child = command(home)
            .arg(what)
            .args(args)
            .stdout(Stdio::piped())
            .stderr(OpenOptions::new().create(true).append(true).open(&log)?)
            .spawn()
            .with_context(|| format!("{} does not start", binary().display()))?;
        let out = child.stdout.take().context("no standard output")?;
        let (tell, told) = mpsc::channel();
        // The thread ends with the process, which closes its standard output.
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let mut node = Self {
            child,
            home: home.to_owned(),
            ready: Value::Null,
        };
        let line = told.recv_timeout(READY).map_err(|_| {
            anyhow!(
                "the node is not ready; its log:\n{}",
                std::fs::read_to_string(&log).unwrap_or_default()
            )
        })?;
        node.ready = serde_json::from_str(&line).with_context(|| format!("not JSON: {line}"))?;
        ensure!(node.ready["event"] == "ready", "not ready: {line}");
        Ok(node)
    }

    /// The home folder.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The port on which it listens.
    pub fn port(&self) -> u64 {
        self.ready["port"].as_u64().unwrap_or(0)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs a command beside it; see [`cli`].
    pub fn cli(&self, args: &[&str]) -> Result<Vec<Value>> {
        cli(&self.home, args)
    }

    /// Runs a command beside it; see [`cli_one`].
    pub fn cli_one(&self, args: &[&str]) -> Result<Value> {
        cli_one(&self.home, args)
    }

    /// Runs a command beside it; see [`try_cli`].
    pub fn try_cli(&self, args: &[&str]) -> Result<Done> {
        try_cli(&self.home, args)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).context("no pid")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Kills it with SIGKILL, so that it cannot clean up.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Stops it with SIGTERM as a service manager does; returns its exit status and how long it took.
    pub fn stop(mut self) -> Result<(ExitStatus, Duration)> {
        let begun = Instant::now();
        self.signal(Signal::TERM)?;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok((status, begun.elapsed()));
            }
            ensure!(
                begun.elapsed() < Duration::from_secs(30),
                "the node does not stop"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The log of the process.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_of(&self.home)).unwrap_or_default()
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", log_of(&self.home).display(), self.log());
        }
    }
}

fn log_of(home: &Path) -> PathBuf {
    home.with_extension("log")
}

/// Polls until the answer is `Some`, for at most `patience`.
pub fn eventually<T>(
    what: &str,
    patience: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        ensure!(Instant::now() < deadline, "it never came true: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The event ids of a channel's log, in its order.
pub fn log_ids(home: &Path, channel: &str) -> Result<Vec<String>> {
    Ok(cli(home, &["log", channel])?
        .iter()
        .filter_map(|event| event["event_id"].as_str().map(str::to_owned))
        .collect())
}

/// Writes a file that only a test reads.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    Ok(File::create(path)?.write_all(bytes)?)
}
