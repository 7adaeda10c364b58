//! Compiles the capture wire without `protoc`, and tells the binary when its source was made.

use std::{env, error::Error, process::Command};

fn main() -> Result<(), Box<dyn Error>> {
    let files = protox::compile(["wayside/capture/v1/capture.proto"], ["proto"])?;
    tonic_prost_build::configure().bytes(".").compile_fds(files)?;
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo::rustc-env=WAYSIDE_SOURCE_DATE={}", source_date());
    Ok(())
}

/// Unix seconds of the source, not of the build: two builds of one commit are the same bytes.
fn source_date() -> String {
    env::var("SOURCE_DATE_EPOCH").ok().or_else(commit_date).unwrap_or_else(|| "0".to_owned())
}

fn commit_date() -> Option<String> {
    let log = Command::new("git").args(["log", "-1", "--format=%ct"]).output().ok()?;
    let date = String::from_utf8(log.stdout).ok()?.trim().to_owned();
    (!date.is_empty()).then_some(date)
}
