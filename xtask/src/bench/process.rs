//! What a process and its descendants cost, as the kernel counts it under `/proc`.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context, Result};

/// Linux counts CPU time for user space in hundredths of a second, whatever its own clock does.
const TICK: Duration = Duration::from_millis(10);

/// User and system time of the process and all of its living descendants.
pub(crate) fn cpu(root: u32) -> Result<Duration> {
    let stats = stats();
    let ticks: u32 = tree(&stats, root).iter().filter_map(|pid| stats.get(pid)).map(|stat| stat.ticks).sum();
    Ok(TICK * ticks)
}

/// The sum of the highest resident sizes since they were last reset, in KiB.
pub(crate) fn peak_rss(root: u32) -> Result<u64> {
    sum_of("VmHWM:", root)
}

/// The sum of the resident sizes now, in KiB.
pub(crate) fn rss(root: u32) -> Result<u64> {
    sum_of("VmRSS:", root)
}

/// Lets the highest resident size begin anew.
pub(crate) fn reset_peak_rss(root: u32) -> Result<()> {
    for pid in tree(&stats(), root) {
        fs::write(format!("/proc/{pid}/clear_refs"), "5").context("reset the peak of the resident size")?;
    }
    Ok(())
}

fn sum_of(key: &str, root: u32) -> Result<u64> {
    let mut sum = 0;
    for pid in tree(&stats(), root) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).context("read a process's status")?;
        sum += kibibytes(&status, key).with_context(|| format!("find {key} in a process's status"))?;
    }
    Ok(sum)
}

fn kibibytes(status: &str, key: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_suffix(" kB")?.parse().ok())
}

struct Stat {
    parent: u32,
    ticks: u32,
}

/// Every process that can be read now.
fn stats() -> BTreeMap<u32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?)))
        .collect()
}

/// proc(5): the name stands in parentheses and may hold anything, so fields are counted from the last one.
fn parse_stat(stat: &str) -> Option<Stat> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let number = |at: usize| fields.get(at)?.parse::<u32>().ok();
    Some(Stat { parent: number(1)?, ticks: number(11)? + number(12)? })
}

fn tree(stats: &BTreeMap<u32, Stat>, root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(stats.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Stat, cpu, kibibytes, parse_stat, rss, tree};

    #[test]
    fn a_stat_line_is_read_past_any_name() {
        let line = "7 (a) b (c) S 3 7 7 0 -1 4194560 1 2 3 4 150 25 0 0 20 0 1 0 9 9 9";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.parent, stat.ticks), (3, 175));
        assert!(parse_stat("7 (a").is_none());
    }

    #[test]
    fn descendants_are_found() {
        let stats: BTreeMap<u32, Stat> = [(1, 0), (5, 1), (6, 5), (7, 6), (8, 1)]
            .map(|(pid, parent)| (pid, Stat { parent, ticks: 1 }))
            .into();
        assert_eq!(tree(&stats, 5), [5, 6, 7]);
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(kibibytes("Name:\ta\nVmHWM:\t    1234 kB\n", "VmHWM:"), Some(1234));
        assert_eq!(kibibytes("Name:\ta\n", "VmHWM:"), None);
        assert!(rss(std::process::id()).unwrap() > 0);
        assert!(cpu(std::process::id()).is_ok());
    }
}
