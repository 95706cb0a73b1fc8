//! Figures, and the little statistics that they take.

use std::time::Duration;

/// Prints a figure.
pub(crate) fn print(name: &str, value: f64, unit: &str) {
    println!(
        "{}",
        serde_json::json!({"figure": name, "value": (value * 1_000.0).round() / 1_000.0, "unit": unit})
    );
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

/// The middle one.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    percentile(values, 0.5)
}

/// CPU time of this process, or of another by its id, in seconds, all threads.
pub(crate) fn cpu_seconds(pid: Option<u32>) -> anyhow::Result<f64> {
    // /proc/PID/schedstat is of the main thread alone: all tasks are added up. Nanoseconds on the CPU.
    let folder = format!(
        "/proc/{}/task",
        pid.map_or("self".into(), |pid| pid.to_string())
    );
    let mut nanoseconds = 0.0;
    for task in std::fs::read_dir(folder)? {
        let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        nanoseconds += text
            .split_whitespace()
            .next()
            .and_then(|first| first.parse::<f64>().ok())
            .unwrap_or(0.0);
    }
    Ok(nanoseconds / 1e9)
}

/// Resident memory of a process, in KiB.
pub(crate) fn resident_kib(pid: Option<u32>) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!(
        "/proc/{}/status",
        pid.map_or("self".into(), |pid| pid.to_string())
    ))?;
    let line = text
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap_or_default();
    Ok(line
        .split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .unwrap_or(f64::NAN))
}

/// Milliseconds.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
