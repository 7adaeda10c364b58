//! Medians of what was measured, as Markdown.

use super::{Args, Cell, Contest, Memory, field::Contestant, loads::Load};
use crate::{bench::facts, command, tools::ENVOY};

const MIB: f64 = 1024.0;
const HEAD: &str = "\
| Load | Through | Rate | p50 | p99 | CPU per request | Forwarder's CPU per request | Peak RSS | Stored |
|---|---|--:|--:|--:|--:|--:|--:|--:|
";
const RATIOS_HEAD: &str = "| Load | Rate | p99 | CPU per request |
|---|--:|--:|--:|
";

/// A whole run.
pub(super) struct Measured<'a> {
    pub(super) contest: &'a Contest,
    pub(super) args: &'a Args,
    pub(super) contestants: &'a [Contestant],
    pub(super) loads: &'a [Load],
    /// By load, then by contestant, then by round.
    pub(super) cells: &'a [Vec<Vec<Cell>>],
    pub(super) memory: Option<Memory>,
}

impl Measured<'_> {
    pub(super) fn markdown(&self) -> String {
        let mut text = self.preamble();
        text.push_str(HEAD);
        for (load, by_contestant) in self.loads.iter().zip(self.cells) {
            let mut title = load.title();
            for (contestant, rounds) in self.contestants.iter().zip(by_contestant) {
                let cell = median_cell(rounds);
                let columns = columns(*load, &cell).join(" | ");
                text.push_str(&format!("| {title} | {} | {columns} |\n", contestant.title()));
                title = "";
            }
        }
        for (ours, theirs) in self.contest.ratios {
            text.push_str(&self.ratios(*ours, *theirs));
        }
        if let Some(Memory { idle, alone }) = &self.memory {
            let mib = |kib: u64| kib as f64 / MIB;
            text.push_str(&format!(
                "\ngoproxy's resident memory: {:.1} MiB idle, {:.1} MiB at most with 1,000 busy connections and \
                 no forwarder.\n",
                mib(*idle),
                mib(*alone)
            ));
        }
        text
    }

    fn preamble(&self) -> String {
        let version = |program: &str, flag| {
            command::find(program).map_or_else(|| "absent".to_owned(), |path| facts::version(&path, flag))
        };
        let Args { rounds, seconds, .. } = self.args;
        let Contest { name, heading, remarks, .. } = self.contest;
        format!(
            "## {heading}\n\n\
             {}: {}.\n\
             nginx {}, HAProxy {}, Envoy {}, wrk {}.\n\
             Repeat with `cargo xtask bench {name} --rounds {rounds} --seconds {seconds}`.\n\n\
             The contestants took turns, {seconds} s at a time; each number is the median over the rounds ({rounds}).\n\
             Our own are built with the profile that users get.\n\
             One nginx worker answers; every proxy may use two threads; clients, proxy and backend share the \
             machine.\n\
             CPU is user and system time of all the proxy's processes, divided by the requests, work done after \
             the load included.\n\
             Peak RSS adds up the proxy's processes, pages that they share more than once.\n\
             {remarks}\n",
            facts::today(),
            facts::machine(),
            version("nginx", "-v"),
            version("haproxy", "-v"),
            ENVOY.version,
            version("wrk", "-v"),
        )
    }

    fn ratios(&self, ours: Contestant, theirs: Contestant) -> String {
        let titles = format!("\n{} ÷ {}, the median over the rounds:\n\n", ours.title(), theirs.title());
        let place = |wanted| self.contestants.iter().position(|contestant| *contestant == wanted);
        let (Some(ours), Some(theirs)) = (place(ours), place(theirs)) else {
            return String::new();
        };
        let mut text = titles + RATIOS_HEAD;
        for (load, by_contestant) in self.loads.iter().zip(self.cells) {
            let (Some(ours), Some(theirs)) = (by_contestant.get(ours), by_contestant.get(theirs)) else {
                continue;
            };
            let ratio = |value: fn(&Cell) -> Option<f64>| {
                let pairs = ours.iter().map(value).zip(theirs.iter().map(value));
                let ratios =
                    pairs.filter_map(|(ours, theirs)| Some(ours? / theirs.filter(|value| *value > 0.0)?));
                shown(median(ratios.collect()), |ratio| format!("{ratio:.2}"))
            };
            let (rate, p99, cpu) =
                (ratio(|cell| Some(cell.per_second)), ratio(|cell| cell.p99), ratio(|cell| cell.cpu));
            text.push_str(&format!("| {} | {rate} | {p99} | {cpu} |\n", load.title()));
        }
        text
    }
}

/// The cell in one line, for the terminal.
pub(super) fn line(load: Load, cell: &Cell) -> String {
    let [rate, p50, p99, cpu, ..] = columns(load, cell);
    format!("{rate:>12}  p50 {p50:>8}  p99 {p99:>8}  CPU {cpu:>8}")
}

fn columns(load: Load, cell: &Cell) -> [String; 7] {
    let rate = match load.body() {
        Some(bytes) => format!("{:.2} GiB/s", cell.per_second * bytes as f64 / (MIB * MIB * MIB)),
        None => format!("{}/s", thousands(cell.per_second)),
    };
    [
        rate,
        shown(cell.p50, time),
        shown(cell.p99, time),
        shown(cell.cpu, time),
        shown(cell.forwarder_cpu, time),
        shown(cell.peak_kib, |kib| format!("{:.1} MiB", kib / MIB)),
        shown(cell.stored, |part| format!("{:.1} %", part * 100.0)),
    ]
}

fn shown(value: Option<f64>, how: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), how)
}

/// µs in the unit that reads best.
fn time(us: f64) -> String {
    match us {
        ..100.0 => format!("{us:.1} µs"),
        100.0..1000.0 => format!("{us:.0} µs"),
        1000.0..1e6 => format!("{:.1} ms", us / 1e3),
        _ => format!("{:.2} s", us / 1e6),
    }
}

fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn median_cell(rounds: &[Cell]) -> Cell {
    let of = |value: fn(&Cell) -> Option<f64>| median(rounds.iter().filter_map(value).collect());
    Cell {
        per_second: of(|cell| Some(cell.per_second)).unwrap_or_default(),
        p50: of(|cell| cell.p50),
        p99: of(|cell| cell.p99),
        cpu: of(|cell| cell.cpu),
        forwarder_cpu: of(|cell| cell.forwarder_cpu),
        peak_kib: of(|cell| cell.peak_kib),
        stored: of(|cell| cell.stored),
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::{median, thousands, time};

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(thousands(999.4), "999");
        assert_eq!(thousands(21_345.0), "21,345");
        assert_eq!(thousands(1_234_567.0), "1,234,567");
        assert_eq!(time(43.21), "43.2 µs");
        assert_eq!(time(1410.0), "1.4 ms");
        assert_eq!(time(250_000.0), "250.0 ms");
        assert_eq!(time(2_500_000.0), "2.50 s");
    }
}
