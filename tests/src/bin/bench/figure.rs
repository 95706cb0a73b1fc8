//! Figures, their bars, and the statistics that they need.

use std::time::Duration;

use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};

/// The bar of a figure: a maximum or a minimum.
enum Bar {
    AtMost(f64),
    AtLeast(f64),
}
use Bar::{AtLeast, AtMost};

/// Figures with a bar. The others are printed for comparison.
const BARS: &[(&str, Bar)] = &[
    ("link_rtt_p50_ratio", AtMost(1.3)),
    ("link_rtt_cpu_ratio", AtMost(1.5)),
    ("send_to_shown_p50_ms", AtMost(3.0)),
    ("mesh50_full_ratio", AtMost(1.6)),
    ("mesh50_cpu_s", AtMost(4.0)),
    ("conn_end_kib", AtMost(100.0)),
    ("broadcast50_verified_last_p50_ms", AtMost(10.0)),
    ("broadcast50_committed_last_p50_ms", AtMost(20.0)),
    ("broadcast50_copies", AtMost(1.05)),
    ("burst3_committed_per_s", AtLeast(5_000.0)),
    ("sync100k_s", AtMost(15.0)),
    ("sync100k_live_p99_ms", AtMost(100.0)),
    ("idle_cpu_pct", AtMost(0.05)),
    ("idle_rss_mib", AtMost(20.0)),
    ("relay_throughput_ratio", AtLeast(0.4)),
    ("relay_rtt_added_ms", AtMost(0.5)),
    ("discovery_cache_ms", AtMost(300.0)),
    ("discovery_http_ms", AtMost(500.0)),
    ("discovery_udp_ms", AtMost(500.0)),
    ("discovery_dht_ms", AtMost(2_000.0)),
    ("discovery_lan_ms", AtMost(1_500.0)),
];

/// Prints a figure as JSON on standard output, and how it compares to its bar on standard error.
pub(crate) fn print(name: &str, value: f64, unit: &str) {
    let value = (value * 10_000.0).round() / 10_000.0;
    // Names and units are literals of this program that need no escaping.
    println!(r#"{{"figure":"{name}","value":{value},"unit":"{unit}"}}"#);
    let bar = BARS.iter().find(|(of, _)| *of == name).map(|(_, bar)| bar);
    let verdict = match bar {
        Some(AtMost(bar)) => format!("bar <= {bar}: {}", word(value <= *bar)),
        Some(AtLeast(bar)) => format!("bar >= {bar}: {}", word(value >= *bar)),
        None => String::new(),
    };
    eprintln!("{name:<36} {value:>12} {unit:<14} {verdict}");
}

fn word(held: bool) -> &'static str {
    if held { "held" } else { "MISSED" }
}

/// The value below which `share` (0 to 1) of the values lie.
pub(crate) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (values.len().saturating_sub(1)) as f64 * share;
    values
        .get(place.round() as usize)
        .copied()
        .unwrap_or(f64::NAN)
}

/// The median.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    percentile(values, 0.5)
}

/// CPU time of this process so far in all threads, ended ones included, in seconds.
pub(crate) fn own_cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// CPU time of another process's current threads, in seconds. It is read from `schedstat`, which counts nanoseconds where
/// `/proc/PID/stat` counts ticks of 10 ms; the process's own file covers only its main thread.
pub(crate) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let mut nanoseconds = 0.0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = task?.path().join("schedstat");
        let text = std::fs::read_to_string(&path)?;
        let first = text.split_whitespace().next();
        nanoseconds += first
            .and_then(|first| first.parse::<f64>().ok())
            .with_context(|| format!("{} is not understood", path.display()))?;
    }
    Ok(nanoseconds / 1e9)
}

/// Resident memory of a process, in KiB; `None` means this process.
pub(crate) fn resident_kib(pid: Option<u32>) -> anyhow::Result<f64> {
    let process = pid.map_or_else(|| "self".into(), |pid| pid.to_string());
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    text.lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("no resident memory of {process}"))
}

/// Milliseconds.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
