//! Compiles the capture wire without `protoc`, and tells the binary when its source was made.

use std::{env, error::Error, process::Command};

/// Who builds may say the time of the source; the first goes before the second, which compilers of C heed as well.
const TIMES: [&str; 2] = ["WAYSIDE_SOURCE_DATE_EPOCH", "SOURCE_DATE_EPOCH"];

fn main() -> Result<(), Box<dyn Error>> {
    let files = protox::compile(["wayside/capture/v1/capture.proto"], ["proto"])?;
    tonic_prost_build::configure().bytes(".").compile_fds(files)?;
    println!("cargo::rerun-if-changed=proto");
    for name in TIMES {
        println!("cargo::rerun-if-env-changed={name}");
    }
    println!("cargo::rustc-env=WAYSIDE_SOURCE_DATE={}", source_date());
    Ok(())
}

/// Unix seconds of the source, not of the build: two builds of one commit are the same bytes.
fn source_date() -> String {
    let told = TIMES.iter().find_map(|name| env::var(name).ok());
    told.or_else(commit_date).unwrap_or_else(|| "0".to_owned())
}

fn commit_date() -> Option<String> {
    let log = Command::new("git").args(["log", "-1", "--format=%ct"]).output().ok()?;
    let date = String::from_utf8(log.stdout).ok()?.trim().to_owned();
    (!date.is_empty()).then_some(date)
}
