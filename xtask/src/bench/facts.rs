//! What must be said beside a measurement: the machine, and the versions of what was measured.

use std::{fs, path::Path, process::Command, thread};

use jiff::Zoned;

/// The day, as it is written in documents.
pub(crate) fn today() -> String {
    Zoned::now().date().to_string()
}

/// Cores, processor, memory and kernel in one line.
pub(crate) fn machine() -> String {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let cpus = read("/proc/cpuinfo");
    let model = value(&cpus, "model name").unwrap_or("unknown processor");
    let memory = read("/proc/meminfo");
    let kib: u64 =
        value(&memory, "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0);
    // What follows the version says who built it.
    let release = read("/proc/sys/kernel/osrelease");
    let kernel = release.split('-').next().unwrap_or_default();
    format!("{cores} cores ({model}), {} GiB of memory, Linux {}", kib.div_ceil(1024 * 1024), kernel.trim())
}

/// The first word with a digit of what the program says of its version.
pub(crate) fn version(program: &Path, flag: &str) -> String {
    let Ok(output) = Command::new(program).arg(flag).output() else { return "unknown".to_owned() };
    let said = [output.stdout, output.stderr].concat();
    version_in(&String::from_utf8_lossy(&said))
}

fn version_in(said: &str) -> String {
    let parts = said.split(|c: char| c.is_whitespace() || c == '/');
    let is_version = |part: &&str| part.contains('.') && part.starts_with(|c: char| c.is_ascii_digit());
    parts.map(|part| part.trim_matches(['[', ']', ','])).find(is_version).unwrap_or("unknown").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| Some(line.strip_prefix(key)?.split_once(':')?.1.trim()))
}

#[cfg(test)]
mod tests {
    use super::version_in;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        assert_eq!(version_in("nginx version: nginx/1.22.1\n"), "1.22.1");
        assert_eq!(version_in("HAProxy version 2.6.12-1+deb12u2 2025/04/16 - x\n"), "2.6.12-1+deb12u2");
        assert_eq!(version_in("wrk debian/4.1.0-3+b2 [epoll] Copyright\n"), "4.1.0-3+b2");
        assert_eq!(version_in("envoy  version: 6d9bb7/1.40.0/Clean/RELEASE/BoringSSL"), "1.40.0");
        assert_eq!(version_in("usage"), "unknown");
    }
}
