//! Long runs of what the ordinary tests run a short slice of.

use anyhow::Result;
use clap::ValueEnum;

use crate::{
    command::{self, cargo},
    test, tools,
};

/// Run one test for hours instead of seconds: more seeds, more cases, the same code.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to run.
    name: Name,
    /// How many seeds or cases; left out, enough for about an hour on two cores.
    #[arg(long)]
    times: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// The decoder on generated conversations, cut up at random.
    Decoder,
    /// goproxy's link against a rude forwarder.
    Link,
    /// The forwarder's ledger through resends, restarts and reaps.
    Ledger,
    /// Real processes: a load, and a forwarder that is killed at random.
    Deaths,
    /// autostop's machine against a rude provider.
    Rehearsal,
    /// Real processes: talkers, and lw_proxy and lw_tcp_proxy killed at random.
    Kills,
    /// Real processes: agents that post, a backend with outages, a disk that is full at times, and agent-relay killed
    /// at random. Wants root, for the disk.
    Relay,
    /// Real processes and a real Redis: a primary and two replicas of flag-relay, cut off from each other at random.
    FlagRedis,
    /// flag-relay and two SDKs, which evaluate drawn flags for drawn targets.
    FlagAgreement,
}

/// One soak: which tests, and the variable that says how much.
struct Soak {
    filter: &'static [&'static str],
    variable: &'static str,
    times: u32,
}

impl Name {
    fn soak(self) -> Soak {
        let (filter, variable, times): (&[_], _, _) = match self {
            Self::Decoder => (&["--package", "goproxy", "--lib", "http1"], "PROPTEST_CASES", 1_000_000),
            Self::Link => (&["--workspace", "--test", "link"], "WAYSIDE_SOAK", 1_000),
            Self::Ledger => (&["--workspace", "--lib", "store::ledger"], "PROPTEST_CASES", 1_000_000),
            Self::Deaths => {
                (&["--workspace", "--test", "accounting", "killed_again_and_again"], "WAYSIDE_SOAK", 500)
            }
            // A million lives want a build that is worth its time.
            Self::Rehearsal => {
                (&["--package", "autostop", "--release", "--test", "rude"], "WAYSIDE_SOAK", 1_000_000)
            }
            Self::Kills => {
                (&["--workspace", "--test", "autostop", "killed_again_and_again"], "WAYSIDE_SOAK", 500)
            }
            Self::Relay => (&["--workspace", "--test", "third_party_relay_soak"], "WAYSIDE_SOAK", 3_000),
            Self::FlagRedis => {
                (&["--workspace", "--test", "third_party_flag_disconnects"], "WAYSIDE_SOAK", 1_000)
            }
            Self::FlagAgreement => {
                (&["--workspace", "--test", "third_party_flag_agreement"], "FLAG_PAIRS", 100_000)
            }
        };
        Soak { filter, variable, times }
    }

    /// Whether it runs the binaries themselves.
    fn is_of_processes(self) -> bool {
        !matches!(self, Self::Decoder | Self::Link | Self::Ledger | Self::Rehearsal)
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let Soak { filter, variable, times } = args.name.soak();
    let times = args.times.unwrap_or(times);
    println!("Soak {:?}: {variable}={times}.", args.name);
    if args.name.is_of_processes() {
        command::run(&mut test::build())?;
    }
    let mut soak = cargo(["test"]);
    if args.name == Name::FlagAgreement {
        soak.env("PATH", test::with_tools(&[&tools::FLAG_PYTHON, &tools::FLAG_NODE])?);
    }
    // They say now and then how far they are.
    command::run(soak.args(filter).args(["--", "--nocapture"]).env(variable, times.to_string()))
}
