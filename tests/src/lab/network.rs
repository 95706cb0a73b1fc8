//! A public network with a tracker, and sides behind routers of different kinds.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::Ipv4Addr,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, ensure};

use super::{Kind, Namespace, namespace::run};
use crate::opentracker::OpenTracker;

/// Delay of each frame in the switch.
const DELAY_MS: &str = "20";
const SWITCH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/lab/switch.py");
/// Debian's Python, independent of a user's own.
pub(super) const PYTHON: &str = "/usr/bin/python3";
/// Port on which proxies listen on the inner side.
const PROXY_PORT: u16 = 3_128;
/// The port of a side's first node; the next ones have those after it.
pub const PORT: u16 = 7_001;

/// A public network: 198.51.100.0/24 unless another is given. The tracker is at `.1`, the sides from `.11` on.
pub struct Lab {
    /// The sides, in the order given.
    pub sides: Vec<Side>,
    /// The host of the tracker.
    pub server: Namespace,
    tracker: OpenTracker,
    _public: Namespace,
    switch: Child,
    orders: Mutex<ChildStdin>,
}

/// One or several hosts with their access to the public network.
pub struct Side {
    /// The kind of access.
    pub kind: Kind,
    /// The hosts; their addresses, where they are behind a router, are 192.168.N.2 and those after it.
    pub hosts: Vec<Namespace>,
    /// The router, unless it is open.
    pub router: Option<Namespace>,
    /// Its public address.
    pub external: Ipv4Addr,
    /// The proxy that is the only way out, in the form of `--proxy`; `None` without a proxy.
    pub proxy: Option<String>,
    /// Its interface at the switch.
    plug: String,
    services: Mutex<Vec<Child>>,
    /// The process of its proxy, while that runs.
    settings: Option<tempfile::NamedTempFile>,
}

impl Lab {
    /// Builds a network with a host behind each of these. `name` is short and unique.
    pub fn new(name: &str, kinds: &[Kind]) -> Result<Self> {
        let sides: Vec<(Kind, usize)> = kinds.iter().map(|kind| (*kind, 1)).collect();
        Self::with_hosts(name, &sides)
    }

    /// Builds a network with that many hosts on each side.
    pub fn with_hosts(name: &str, kinds: &[(Kind, usize)]) -> Result<Self> {
        Self::numbered(name, kinds, [198, 51, 100])
    }

    /// Builds a network with another public prefix: some routers treat the documentation addresses as private ones.
    pub fn numbered(name: &str, kinds: &[(Kind, usize)], [a, b, c]: [u8; 3]) -> Result<Self> {
        let public = Namespace::new(&format!("{name}-pub"))?;
        let server = Namespace::new(&format!("{name}-srv"))?;
        let at = |host| Ipv4Addr::new(a, b, c, host);
        plug(&public, "p0", &server, "eth0", at(1), 24)?;
        let mut sides = Vec::new();
        for (n, (kind, hosts)) in (0_u8..).zip(kinds) {
            sides.push(Side::new(name, (n, at(11 + n)), *kind, *hosts, &public)?);
        }
        let mut switch = public.within(|| {
            Command::new(PYTHON)
                .args([SWITCH, DELAY_MS, "p0"])
                .args(sides.iter().map(|side| side.plug.as_str()))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .context("the switch, which takes Debian's python3")
        })?;
        let orders = switch.stdin.take().context("a piped input")?;
        let mut ready = String::new();
        let out = switch.stdout.take().context("a piped output")?;
        BufReader::new(out).read_line(&mut ready)?;
        ensure!(ready == "ready\n", "the switch does not start");
        let tracker = server.within(|| OpenTracker::start_at(at(1), &[]))?;
        Ok(Self {
            sides,
            server,
            tracker,
            _public: public,
            switch,
            orders: Mutex::new(orders),
        })
    }

    /// The tracker's announce URL.
    pub fn tracker(&self) -> String {
        self.tracker.url()
    }

    /// Makes the tracker serve only these hashes.
    pub fn serve(&self, hashes: &[String]) -> Result<()> {
        self.server.within(|| self.tracker.serve(hashes))
    }

    /// Unplugs a side's cable from the switch, or plugs it in again.
    pub fn cut(&self, side: usize, cut: bool) -> Result<()> {
        let plug = &self.sides.get(side).context("no such side")?.plug;
        let verb = if cut { "cut" } else { "mend" };
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        // In one write: the switch reads whatever is there.
        let order = format!("{verb} {plug}\n");
        Ok(orders.write_all(order.as_bytes())?)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.switch.kill();
        let _ = self.switch.wait();
    }
}

impl Side {
    fn new(
        name: &str,
        (n, external): (u8, Ipv4Addr),
        kind: Kind,
        hosts: usize,
        public: &Namespace,
    ) -> Result<Self> {
        let plug_name = format!("p{}", n + 1);
        let host = |k: usize| Namespace::new(&format!("{name}-h{n}{k}"));
        if kind == Kind::Open {
            ensure!(hosts == 1, "an open side is one host");
            let host = host(0)?;
            plug(public, &plug_name, &host, "eth0", external, 24)?;
            return Ok(Self {
                kind,
                hosts: vec![host],
                router: None,
                external,
                proxy: None,
                plug: plug_name,
                services: Mutex::default(),
                settings: None,
            });
        }
        let router = Namespace::new(&format!("{name}-r{n}"))?;
        plug(public, &plug_name, &router, "wan", external, 24)?;
        let (inner, first) = (Self::inner(n, 1), Self::inner(n, 2));
        router.ip(&format!(
            "link add lan type bridge forward_delay 0\naddr add {inner}/24 dev lan\nlink set lan up\n"
        ))?;
        let mut all = Vec::new();
        for k in 0..hosts {
            let host = host(k)?;
            let at = Self::inner(n, 2 + u8::try_from(k)?);
            let port = format!("lan{k}");
            plug(&router, &port, &host, "eth0", at, 24)?;
            router.ip(&format!("link set {port} master lan\n"))?;
            if !kind.is_proxy() {
                host.ip(&format!("route add default via {inner}\n"))?;
            }
            all.push(host);
        }
        router.within(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"))?;
        router.nft(&kind.rules(&first.to_string(), PORT))?;
        let mut side = Self {
            kind,
            hosts: all,
            router: Some(router),
            external,
            proxy: None,
            plug: plug_name,
            services: Mutex::default(),
            settings: None,
        };
        side.start_proxy(inner)?;
        Ok(side)
    }

    fn inner(n: u8, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, 1 + n, host)
    }

    fn start_proxy(&mut self, at: Ipv4Addr) -> Result<()> {
        let (listen, port) = (at.to_string(), PROXY_PORT.to_string());
        let mut command = match self.kind {
            Kind::HttpProxy => {
                let settings =
                    format!("Port {port}\nListen {listen}\nTimeout 600\nMaxClients 100\n");
                let mut file = tempfile::NamedTempFile::new()?;
                file.write_all(settings.as_bytes())?;
                let mut command = Command::new("tinyproxy");
                command.arg("-d").arg("-c").arg(file.path());
                self.settings = Some(file);
                command
            }
            Kind::Socks5 => {
                let mut command = Command::new("microsocks");
                command.args(["-i", &listen, "-p", &port]);
                command
            }
            _ => return Ok(()),
        };
        let scheme = if self.kind == Kind::HttpProxy {
            "http"
        } else {
            "socks5"
        };
        self.proxy = Some(format!("{scheme}://{at}:{PROXY_PORT}"));
        let router = self.router.as_ref().context("a proxy's router")?;
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::null());
        let child = router.within(|| command.spawn());
        let child = child.context("a proxy, of a Debian package that ./test installs")?;
        let services = self.services.get_mut();
        services.unwrap_or_else(PoisonError::into_inner).push(child);
        Ok(())
    }

    /// Its router's inner address, where its proxy listens.
    pub fn lan(&self) -> Ipv4Addr {
        let n = self.external.octets()[3].saturating_sub(11);
        Self::inner(n, 1)
    }

    /// Clears all mappings of its NAT, like a router that restarts.
    pub fn flush(&self) -> Result<()> {
        let router = self.router.as_ref().context("no router here")?;
        router.within(|| run("conntrack", &["-F"]))
    }

    /// Kills its proxy.
    pub fn stop_services(&self) {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        for mut service in services.drain(..) {
            let _ = service.kill();
            let _ = service.wait();
        }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.stop_services();
    }
}

/// A cable between two namespaces; the far end has an address.
fn plug(
    near: &Namespace,
    near_name: &str,
    far: &Namespace,
    far_name: &str,
    address: Ipv4Addr,
    prefix: u8,
) -> Result<()> {
    near.ip(&format!(
        "link add {near_name} type veth peer name {far_name} netns {}\nlink set {near_name} up\n",
        far.name()
    ))?;
    far.ip(&format!(
        "addr add {address}/{prefix} dev {far_name}\nlink set {far_name} up\n"
    ))
}
