//! Nodes in child processes: this program again, which reads commands line by line.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use bitchat_actors::{chat::Position, node::Node};
use bitchat_wire::channel::{ChannelFile, ChannelId};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{live, node};

/// The first argument of a child.
pub(crate) const MODE: &str = "child";
/// Messages that a bursting child sends concurrently.
const AT_ONCE: usize = 256;

/// A child process with a node.
pub(crate) struct Peer {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    pub(crate) fn start(folder: &Path, name: &str) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(MODE)
            .arg(folder)
            .arg(name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().context("no standard input")?;
        let answers = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut peer = Self {
            child,
            orders,
            answers,
        };
        ensure!(peer.answer()? == "ready", "the child did not start");
        Ok(peer)
    }

    /// Sends a command without waiting for its result.
    pub(crate) fn order(&mut self, order: &str) -> Result<()> {
        writeln!(self.orders, "{order}")?;
        Ok(self.orders.flush()?)
    }

    /// Waits for the result of a command.
    pub(crate) fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let line = line.trim();
        if let Some(error) = line.strip_prefix("error ") {
            bail!("a child failed: {error}");
        }
        Ok(line.to_owned())
    }

    pub(crate) fn ask(&mut self, order: &str) -> Result<String> {
        self.order(order)?;
        self.answer()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs as a child: `FOLDER NAME`.
pub(crate) async fn run(args: &[String]) -> Result<()> {
    let [folder, name] = args else {
        bail!("a child needs a folder and a name")
    };
    let node = Arc::new(node::start(Path::new(folder), name).await?);
    println!("ready");
    let mut state = State::default();
    let mut lines =
        tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(tokio::io::stdin()));
    while let Some(line) = lines.next_line().await? {
        match obey(&node, &mut state, &line).await {
            Ok(answer) => println!("{answer}"),
            Err(error) => println!("error {error:#}"),
        }
    }
    Ok(())
}

/// State that a child keeps between commands.
#[derive(Default)]
struct State {
    cid: Option<ChannelId>,
    chat: Option<(CancellationToken, JoinHandle<Result<usize>>)>,
    heard: Arc<Mutex<Vec<f64>>>,
}

async fn obey(node: &Arc<Node>, state: &mut State, line: &str) -> Result<String> {
    let (order, argument) = line.split_once(' ').unwrap_or((line, ""));
    let cid = &mut state.cid;
    let here = || cid.context("no channel yet");
    match order {
        "create" => {
            let file = node::channel(node).await?;
            *cid = Some(file.id());
            Ok(file.to_link())
        }
        "join" => {
            *cid = Some(node.join(ChannelFile::parse_link(argument)?).await?.id());
            Ok("joined".into())
        }
        "address" => Ok(node::address(node).to_string()),
        "connect" => {
            node.connect(here()?, argument.parse()?).await?;
            Ok("told".into())
        }
        "full" => {
            node::full(node, here()?, argument.parse()?).await?;
            Ok("full".into())
        }
        "say" => {
            let (cid, count): (_, usize) = (here()?, argument.parse()?);
            stream::iter(0..count)
                .map(|n| {
                    let node = Arc::clone(node);
                    async move {
                        let line =
                            format!("line {n} of a burst, of about the length of what people say");
                        anyhow::Ok(node.chat(cid)?.send(line).await?)
                    }
                })
                .buffer_unordered(AT_ONCE)
                .try_for_each(|_| async { Ok(()) })
                .await?;
            Ok("said".into())
        }
        "position" => {
            node::position(node, argument.parse()?).await?;
            Ok("there".into())
        }
        "chat" => {
            let (cid, every) = (here()?, Duration::from_millis(argument.parse()?));
            let stop = CancellationToken::new();
            let task = tokio::spawn(live::chat(Arc::clone(node), cid, every, stop.clone()));
            state.chat = Some((stop, task));
            Ok("chatting".into())
        }
        "hush" => {
            let (stop, task) = state.chat.take().context("there was no chat")?;
            stop.cancel();
            Ok(task.await??.to_string())
        }
        "listen" => {
            let talk = node.chats().follow(*cid, Position::Now).await?;
            tokio::spawn(live::listen(talk, Arc::clone(&state.heard)));
            Ok("listening".into())
        }
        "heard" => {
            let heard = state.heard.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(serde_json::to_string(&*heard)?)
        }
        other => bail!("no such order: {other}"),
    }
}
