//! A router that maps ports on request: Debian's miniupnpd, which runs in many real ones.

use std::{
    fs::File,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::{Namespace, Side};

/// Its own nft tables beside the lab's, which let mapped packets through since they are translated.
const TABLES: &str = "table inet miniupnpd {
    chain forward { type filter hook forward priority 0; policy accept; jump mapped; }
    chain mapped { }
    chain prerouting { type nat hook prerouting priority -100; policy accept; jump mapped_in; }
    chain postrouting { type nat hook postrouting priority 100; policy accept; jump mapped_out; }
    chain mapped_in { }
    chain mapped_out { }
}\n";

/// The protocols that it supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// PCP, NAT-PMP and UPnP.
    All,
    /// NAT-PMP and UPnP; PCP gets no answer.
    NatPmp,
    /// UPnP only.
    Upnp,
}

/// A running miniupnpd; ended with its mappings when dropped.
pub struct PortMapper<'a> {
    router: &'a Namespace,
    child: Child,
    /// The folder of its settings and its log.
    folder: TempDir,
}

impl<'a> PortMapper<'a> {
    /// Starts it on the router of a side. PCP and NAT-PMP mappings last for at most `lifetime` seconds.
    pub fn start(side: &'a Side, speaks: Speaks, lifetime: u32) -> Result<Self> {
        let router = side.router.as_ref().context("no router here")?;
        router.nft(TABLES)?;
        if speaks == Speaks::NatPmp {
            // PCP's version is the first byte after the UDP header.
            router.nft(
                "table inet old {\nchain input {\ntype filter hook input priority 0;\n\
                 udp dport 5351 @th,64,8 2 drop;\n}\n}\n",
            )?;
        }
        let pmp = if speaks == Speaks::Upnp { "no" } else { "yes" };
        let settings = format!(
            "ext_ifname=wan\nlistening_ip=lan\nhttp_port=0\nenable_natpmp={pmp}\nenable_upnp=yes\nsecure_mode=yes\n\
             system_uptime=yes\nuuid=6a4f8b52-5a0b-4c61-9d1b-2f0e8c7a4b11\nmin_lifetime=1\nmax_lifetime={lifetime}\n\
             upnp_table_name=miniupnpd\nupnp_nat_table_name=miniupnpd\nupnp_forward_chain=mapped\n\
             upnp_nat_chain=mapped_in\nupnp_nat_postrouting_chain=mapped_out\n\
             allow 1024-65535 192.168.0.0/16 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n"
        );
        // The process id in a file that an earlier run left may belong to another process now.
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        let (file, log) = (at("conf"), at("log"));
        std::fs::write(&file, settings)?;
        let out = File::create(log)?;
        // Debian keeps daemons out of a user's PATH.
        let mut command = Command::new("/usr/sbin/miniupnpd");
        command
            .arg("-d")
            .arg("-f")
            .arg(file)
            .arg("-P")
            .arg(at("pid"));
        command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out);
        let child = router.within(|| command.spawn());
        let child = child.context("miniupnpd, of a Debian package that ./test installs")?;
        Ok(Self {
            router,
            child,
            folder,
        })
    }

    /// The rules of its mappings, as nft shows them.
    pub fn mappings(&self) -> Result<Vec<String>> {
        let args = ["list", "chain", "inet", "miniupnpd", "mapped_in"];
        let out = self
            .router
            .within(|| Command::new("nft").args(args).output())?;
        ensure!(
            out.status.success(),
            "nft: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let rules = text
            .lines()
            .map(str::trim)
            .filter(|line| line.contains("dnat"));
        Ok(rules.map(str::to_owned).collect())
    }

    /// Its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for PortMapper<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
