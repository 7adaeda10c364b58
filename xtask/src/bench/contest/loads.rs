//! The loads under which the contestants are compared.

use std::{
    fs,
    io::{self, Write},
    net::SocketAddr,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::{
    bench::load::{Seen, Wrk, one_body},
    stop::Stop,
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Load {
    #[value(name = "small-1")]
    Small1,
    #[value(name = "small-64")]
    Small64,
    #[value(name = "small-1000")]
    Small1000,
    #[value(name = "connect")]
    Connect,
    #[value(name = "body-1m")]
    Body1M,
    #[value(name = "body-1g")]
    Body1G,
}

impl Load {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Small1 => "small, 1 connection",
            Self::Small64 => "small, 64 connections",
            Self::Small1000 => "small, 1,000 connections",
            Self::Connect => "small, a new connection each",
            Self::Body1M => "1 MiB bodies, 16 connections",
            Self::Body1G => "1 GiB bodies, 1 connection",
        }
    }

    /// The bytes in one body, where throughput says more than requests per second.
    pub(super) fn body(self) -> Option<u64> {
        match self {
            Self::Body1M => Some(MIB),
            Self::Body1G => Some(GIB),
            _ => None,
        }
    }

    pub(super) fn run(self, addr: SocketAddr, length: Duration, folder: &Path, stop: &Stop) -> Result<Seen> {
        let (path, connections) = match self {
            Self::Small1 => ("/", 1),
            Self::Small64 | Self::Connect => ("/", 64),
            Self::Small1000 => ("/", 1000),
            Self::Body1M => ("/1m", 16),
            Self::Body1G => return one_body(addr, "/1g", GIB, stop),
        };
        let wrk = Wrk { path, connections, new_connection_each: self == Self::Connect };
        wrk.run(addr, length, folder, stop)
    }
}

/// The files behind the loads: 1 MiB that compresses as JSON does, and 1 GiB that takes no space on disk.
pub(super) fn make_files(folder: &Path) -> Result<()> {
    let files = folder.join("files");
    fs::create_dir_all(&files).context("make the folder of the bodies")?;
    let mut body = Vec::new();
    // A linear congruential generator: the same bytes in every run.
    let mut chance: u32 = 1;
    while (body.len() as u64) < MIB {
        chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        writeln!(
            body,
            r#"{{"id":{chance},"name":"item {}","in_stock":{}}}"#,
            chance >> 20,
            chance & 64 != 0
        )?;
    }
    body.truncate(usize::try_from(MIB)?);
    fs::write(files.join("1m"), body).context("write the 1 MiB body")?;
    let huge = files.join("1g");
    fs::File::create(&huge).and_then(|sparse| sparse.set_len(GIB)).context("make the 1 GiB body")?;
    // Read once, so that the first contestant does not pay for filling the page cache.
    io::copy(&mut fs::File::open(&huge)?, &mut io::sink()).context("read the 1 GiB body")?;
    Ok(())
}
