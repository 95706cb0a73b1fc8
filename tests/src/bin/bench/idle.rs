//! A process with one channel and two links, left alone.

use std::{thread::sleep, time::Duration};

use anyhow::Result;

use super::{
    burst::three,
    figure::{cpu_seconds, print, resident_kib},
};

/// How long it is watched.
const WATCH: Duration = Duration::from_secs(120);

pub(crate) fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (peers, _) = three(folder.path())?;
    // What follows a start is not rest.
    sleep(Duration::from_secs(10));
    let pid = Some(peers[1].pid());
    let before = cpu_seconds(pid)?;
    sleep(WATCH);
    print(
        "idle_cpu_pct",
        (cpu_seconds(pid)? - before) / WATCH.as_secs_f64() * 100.0,
        "%",
    );
    print("idle_rss_mib", resident_kib(pid)? / 1_024.0, "MiB");
    Ok(())
}
