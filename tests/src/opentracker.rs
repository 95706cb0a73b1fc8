//! A real BitTorrent tracker as a test partner: Debian's `opentracker`, built with a whitelist.

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Time limit of its start.
const START: Duration = Duration::from_secs(20);
/// Attempts to start it: between closing the port that the system chose and opentracker's bind, another process may take it.
const ATTEMPTS: usize = 5;
/// The whitelist's name within the tracker's folder.
const WHITELIST: &str = "whitelist.txt";

/// An opentracker on a free port for HTTP and UDP, usually on 127.0.0.1; killed when dropped. It supports IPv4 only,
/// sends compact answers and an interval of about half an hour.
pub struct OpenTracker {
    child: Child,
    ip: Ipv4Addr,
    port: u16,
    folder: tempfile::TempDir,
}

impl OpenTracker {
    /// Starts one that serves these hashes (40 hexadecimal digits each).
    pub fn start(hashes: &[String]) -> anyhow::Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST, hashes)
    }

    /// Starts one on another address.
    pub fn start_at(ip: Ipv4Addr, hashes: &[String]) -> anyhow::Result<Self> {
        for _ in 0..ATTEMPTS {
            if let Some(tracker) = Self::attempt(ip, hashes)? {
                return Ok(tracker);
            }
        }
        bail!("opentracker ended {ATTEMPTS} times right after its start")
    }

    fn attempt(ip: Ipv4Addr, hashes: &[String]) -> anyhow::Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        // Started by root it drops privileges, and must still be able to read its folder.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        write_whitelist(&folder.path().join(WHITELIST), hashes)?;
        let port = TcpListener::bind((ip, 0))?.local_addr()?.port();
        let child = Command::new("opentracker")
            .args([
                "-i",
                &ip.to_string(),
                "-p",
                &port.to_string(),
                "-P",
                &port.to_string(),
            ])
            .arg("-d")
            .arg(folder.path())
            .args(["-u", "nobody", "-w", WHITELIST])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start opentracker: install the Debian package of that name")?;
        let mut tracker = Self {
            child,
            ip,
            port,
            folder,
        };
        let start = Instant::now();
        while start.elapsed() < START {
            if tracker.child.try_wait()?.is_some() {
                return Ok(None);
            }
            if TcpStream::connect(tracker.address()).is_ok() {
                tracker.wait_until_served(hashes)?;
                return Ok(Some(tracker));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("opentracker does not listen after {} s", START.as_secs())
    }

    /// Waits until it has read its list: it listens before that, and refuses all hashes.
    fn wait_until_served(&self, hashes: &[String]) -> anyhow::Result<()> {
        let Some(last) = hashes.last() else {
            return Ok(());
        };
        let start = Instant::now();
        while self.refuses(last)? {
            if start.elapsed() > START {
                bail!(
                    "opentracker still refuses {last} after {} s",
                    START.as_secs()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Whether it refuses a hash. Asks as a peer that has just left, so that nobody finds it.
    fn refuses(&self, hash: &str) -> anyhow::Result<bool> {
        let mut escaped = String::new();
        for (n, digit) in hash.chars().enumerate() {
            if n % 2 == 0 {
                escaped.push('%');
            }
            escaped.push(digit);
        }
        let mut stream = TcpStream::connect(self.address())?;
        write!(
            stream,
            "GET /announce?info_hash={escaped}&peer_id=-XX0000-000000000000&port=9&uploaded=0\
             &downloaded=0&left=0&event=stopped HTTP/1.0\r\n\r\n"
        )?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply)?;
        Ok(reply.windows(7).any(|at| at == b"failure"))
    }

    /// Serves only these hashes from now on.
    pub fn serve(&self, hashes: &[String]) -> anyhow::Result<()> {
        write_whitelist(&self.folder.path().join(WHITELIST), hashes)?;
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a process has an id")?, Signal::HUP)?;
        self.wait_until_served(hashes)
    }

    /// The address on which it listens for TCP and UDP.
    pub fn address(&self) -> SocketAddr {
        (self.ip, self.port).into()
    }

    /// Its announce URL.
    pub fn url(&self) -> String {
        format!("http://{}/announce", self.address())
    }
}

impl Drop for OpenTracker {
    fn drop(&mut self) {
        // It may have ended on its own.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_whitelist(path: &PathBuf, hashes: &[String]) -> anyhow::Result<()> {
    let mut list = String::new();
    for hash in hashes {
        writeln!(list, "{hash}")?;
    }
    fs::write(path, list)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
    Ok(())
}
