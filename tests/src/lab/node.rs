//! The real program on a host of the lab.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{Namespace, network::PORT};
use crate::{api::Api, process::NodeProcess};

/// The log filter; the log is shown when a test fails.
const LOG: &str = "info,bitchat_actors=debug";
/// Interval of polling its API during a wait.
const STEP: Duration = Duration::from_millis(25);

/// A node on a host; killed when dropped.
pub struct LabNode<'a> {
    host: &'a Namespace,
    node: NodeProcess,
}

impl<'a> LabNode<'a> {
    /// Starts it, with its home in `folder`, as the `n`th of its side. It finds peers only through trackers unless `args`
    /// change that.
    pub fn up(host: &'a Namespace, n: u16, folder: &Path, args: &[&str]) -> Result<Self> {
        Self::up_mapped(host, n, folder, &[&["--no-portmap"], args].concat())
    }

    /// Starts it with port mapping by its router on.
    pub fn up_mapped(host: &'a Namespace, n: u16, folder: &Path, args: &[&str]) -> Result<Self> {
        let port = (PORT + n).to_string();
        let home = folder.join(host.name());
        let alone = ["--no-dht", "--no-lan", "--log", LOG];
        let args = [&alone[..], &["--port", &port], args].concat();
        let node = host.within(|| NodeProcess::up(&home, &args))?;
        Ok(Self { host, node })
    }

    /// The underlying process.
    pub fn process(&self) -> &NodeProcess {
        &self.node
    }

    /// Stops it as a user does; an error if it fails.
    pub fn stop(self) -> Result<()> {
        let (status, _) = self.node.stop()?;
        ensure!(status.success(), "{status}");
        Ok(())
    }

    /// Runs a command beside it.
    pub fn cli(&self, args: &[&str]) -> Result<Vec<Value>> {
        self.host.within(|| self.node.cli(args))
    }

    /// Runs a command against its API.
    pub fn api<T: Send>(&self, act: impl AsyncFnOnce(Api) -> Result<T> + Send) -> Result<T> {
        self.host.within(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(async { act(Api::of(&self.node)?).await })
        })
    }

    /// Sends that many messages, each this prefix and a number.
    pub fn say(&self, channel: &str, word: &str, count: usize) -> Result<()> {
        self.api(async |api| {
            for n in 0..count {
                api.say(channel, &format!("{word} {n}")).await?;
            }
            Ok(())
        })
    }

    /// Polls the members until `is` holds, and returns how long that took; an error after `patience`.
    pub fn members(
        &self,
        channel: &str,
        patience: Duration,
        is: impl Fn(&[Value]) -> bool + Sync,
    ) -> Result<Duration> {
        self.api(async |api| {
            let begin = Instant::now();
            loop {
                let members = api.members(channel).await?;
                let others = members.into_iter().filter(|member| member["me"] != true);
                let others: Vec<Value> = others.collect();
                if is(&others) {
                    return Ok(begin.elapsed());
                }
                if begin.elapsed() > patience {
                    bail!("after {patience:?} its members are {others:#?}");
                }
                sleep(STEP).await;
            }
        })
    }

    /// Waits until it shows exactly these messages, in any order, each once; returns how long that took.
    pub fn shows(&self, channel: &str, lines: &[String], patience: Duration) -> Result<Duration> {
        let mut wanted = lines.to_vec();
        wanted.sort_unstable();
        self.api(async |api| {
            let begin = Instant::now();
            loop {
                let mut texts = api.texts(channel).await?;
                texts.sort_unstable();
                if texts == wanted {
                    return Ok(begin.elapsed());
                }
                ensure!(
                    begin.elapsed() < patience,
                    "after {patience:?} it shows {} lines of {}: {texts:?}",
                    texts.len(),
                    wanted.len()
                );
                sleep(STEP).await;
            }
        })
    }

    /// Waits until a tracker has accepted its announce: later queries return it.
    pub fn is_announced(&self, channel: &str, patience: Duration) -> Result<()> {
        self.api(async |api| {
            let begin = Instant::now();
            let works = async || {
                let info = api.channel(channel).await?;
                let first = info.trackers.first();
                Ok::<_, anyhow::Error>(first.is_some_and(|tracker| tracker.state == "working"))
            };
            while !works().await? {
                ensure!(begin.elapsed() < patience, "the tracker does not answer");
                sleep(STEP).await;
            }
            Ok(())
        })
    }

    /// The hashes under which a channel is announced.
    pub fn hashes(&self, channel: &str) -> Result<Vec<String>> {
        let info = self.cli(&["channel", "info", channel])?;
        let info = info.first().context("no such channel")?;
        Ok(serde_json::from_value(info["rendezvous"].clone())?)
    }
}

/// The path to one of these members, if it is linked.
pub fn path(members: &[Value], id: &str) -> Option<String> {
    let member = members.iter().find(|member| member["id"] == id)?;
    Some(member["path"]["kind"].as_str()?.to_owned())
}
