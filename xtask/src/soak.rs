//! Long runs of what the ordinary tests run a short slice of.

use anyhow::Result;
use clap::ValueEnum;

use crate::{
    command::{self, cargo},
    test::with_tools,
    tools,
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
    package: &'static str,
    filter: &'static [&'static str],
    variable: &'static str,
    times: u32,
}

impl Name {
    fn soak(self) -> Soak {
        let (package, filter, variable, times): (_, &[_], _, _) = match self {
            Self::Decoder => ("goproxy", &["--lib", "http1"], "PROPTEST_CASES", 1_000_000),
            Self::Link => ("goproxy", &["--test", "link"], "WAYSIDE_SOAK", 1_000),
            Self::Ledger => ("forwarder", &["--lib", "store::ledger"], "PROPTEST_CASES", 1_000_000),
            Self::Deaths => {
                ("tests", &["--test", "accounting", "killed_again_and_again"], "WAYSIDE_SOAK", 500)
            }
            Self::Rehearsal => ("autostop", &["--test", "rude"], "WAYSIDE_SOAK", 1_000_000),
            Self::Kills => ("tests", &["--test", "autostop", "killed_again_and_again"], "WAYSIDE_SOAK", 500),
            Self::Relay => {
                let filter = &["--test", "third_party_relay_soak", "--", "--nocapture"];
                ("tests", filter, "WAYSIDE_SOAK", 3_000)
            }
            Self::FlagRedis => ("tests", &["--test", "third_party_flag_disconnects"], "WAYSIDE_SOAK", 1_000),
            Self::FlagAgreement => {
                ("tests", &["--test", "third_party_flag_agreement"], "FLAG_PAIRS", 100_000)
            }
        };
        Soak { package, filter, variable, times }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let Soak { package, filter, variable, times } = args.name.soak();
    let times = args.times.unwrap_or(times);
    println!("Soak {:?}: {variable}={times}.", args.name);
    match args.name {
        Name::Deaths => command::run(&mut cargo(["build", "-p", "goproxy", "-p", "forwarder"]))?,
        Name::FlagRedis | Name::FlagAgreement => command::run(&mut cargo(["build", "-p", "flag-relay"]))?,
        Name::Relay => command::run(&mut cargo(["build", "-p", "agent-relay"]))?,
        Name::Kills => command::run(&mut cargo(["build", "-p", "autostop", "--bins"]))?,
        _ => {}
    }
    let mut test = cargo(["test", "-p", package]);
    if args.name == Name::FlagAgreement {
        test.env("PATH", with_tools(&[&tools::FLAG_PYTHON, &tools::FLAG_NODE])?);
    }
    // A million lives want a build that is worth its time, and a word now and then.
    let (built, told): (&[_], &[_]) = match args.name {
        Name::Rehearsal => (&["--release"], &["--", "--nocapture"]),
        Name::FlagRedis => (&[], &["--", "--nocapture"]),
        _ => (&[], &[]),
    };
    command::run(test.args(built).args(filter).args(told).env(variable, times.to_string()))
}
