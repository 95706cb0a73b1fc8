//! Captures of what leaves a host.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, ensure};

use super::{Namespace, network::PYTHON};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/lab/capture.py");

/// A capture of everything that leaves a host by its one interface.
pub struct Capture {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Capture {
    /// Starts a capture; returns when it runs.
    pub fn of(host: &Namespace) -> Result<Self> {
        let mut child = host.within(|| {
            Command::new(PYTHON)
                .args([PROGRAM, "eth0"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .context("the capture, which takes Debian's python3")
        })?;
        let mut out = BufReader::new(child.stdout.take().context("a piped output")?);
        let mut ready = String::new();
        out.read_line(&mut ready)?;
        ensure!(ready == "ready\n", "the capture does not start");
        Ok(Self { child, out })
    }

    /// Ends the capture; returns what was sent, and how often. A key is like `tcp > 192.168.1.1 3128`.
    pub fn end(mut self) -> Result<BTreeMap<String, u64>> {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.out.read_to_string(&mut text)?;
        Ok(serde_json::from_str(&text)?)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
