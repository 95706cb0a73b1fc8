//! The real program on a host of the lab.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{Namespace, network::PORT};
use crate::{api::Api, process::NodeProcess};

/// What its log says, which is shown when a test fails.
const LOG: &str = "info,bitchat_actors=debug";
/// How often its API is asked while something is waited for.
const STEP: Duration = Duration::from_millis(25);

/// A node on a host; ended when dropped.
pub struct LabNode<'a> {
    host: &'a Namespace,
    node: NodeProcess,
}

impl<'a> LabNode<'a> {
    /// Starts it, with its home in `folder`, as the `n`th of its side. It finds its peers by trackers alone unless `args` say
    /// otherwise.
    pub fn up(host: &'a Namespace, n: u16, folder: &Path, args: &[&str]) -> Result<Self> {
        Self::up_mapped(host, n, folder, &[&["--no-portmap"], args].concat())
    }

    /// The same, and its router is asked to let others in.
    pub fn up_mapped(host: &'a Namespace, n: u16, folder: &Path, args: &[&str]) -> Result<Self> {
        let port = (PORT + n).to_string();
        let home = folder.join(host.name());
        let alone = ["--no-dht", "--no-lan", "--log", LOG];
        let args = [&alone[..], &["--port", &port], args].concat();
        let node = host.within(|| NodeProcess::up(&home, &args))?;
        Ok(Self { host, node })
    }

    /// The process.
    pub fn process(&self) -> &NodeProcess {
        &self.node
    }

    /// Stops it, as a user does; an error if it ends badly.
    pub fn stop(self) -> Result<()> {
        let (status, _) = self.node.stop()?;
        ensure!(status.success(), "{status}");
        Ok(())
    }

    /// Runs a command beside it.
    pub fn cli(&self, args: &[&str]) -> Result<Vec<Value>> {
        self.host.within(|| self.node.cli(args))
    }

    /// Speaks with its API.
    pub fn api<T: Send>(&self, act: impl AsyncFnOnce(Api) -> Result<T> + Send) -> Result<T> {
        self.host.within(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(async { act(Api::of(&self.node)?).await })
        })
    }

    /// Says so many lines, each with this word before its number.
    pub fn say(&self, channel: &str, word: &str, count: usize) -> Result<()> {
        self.api(async |api| {
            for n in 0..count {
                api.say(channel, &format!("{word} {n}")).await?;
            }
            Ok(())
        })
    }

    /// Asks for members until `is` says so, and returns how long that took; an error after `patience`.
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

    /// Waits until it shows exactly these lines, in whatever order, each once; returns how long that took.
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

    /// Waits until a tracker has taken its announce: who asks after that hears of it.
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

/// By which way one of these members is linked, if it is.
pub fn path(members: &[Value], id: &str) -> Option<String> {
    let member = members.iter().find(|member| member["id"] == id)?;
    Some(member["path"]["kind"].as_str()?.to_owned())
}
