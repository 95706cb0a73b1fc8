//! The real program with one channel and two links, left alone.

use std::{thread::sleep, time::Duration};

use anyhow::Result;

use super::{
    figure::{cpu_seconds, print, resident_kib},
    program,
};

/// Duration of the measurement.
const WATCH: Duration = Duration::from_secs(120);
/// Pause after the start, which is not idle time.
const SETTLE: Duration = Duration::from_secs(10);

pub(crate) fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let nodes = program::linked(folder.path(), &["a", "b", "c"])?;
    sleep(SETTLE);
    let pid = nodes[1].pid();
    let before = cpu_seconds(pid)?;
    sleep(WATCH);
    print(
        "idle_cpu_pct",
        (cpu_seconds(pid)? - before) / WATCH.as_secs_f64() * 100.0,
        "%",
    );
    print("idle_rss_mib", resident_kib(Some(pid))? / 1_024.0, "MiB");
    Ok(())
}
