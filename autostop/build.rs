//! Compiles the link between control plane and data plane without `protoc`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let files = protox::compile(["wayside/autostop/v1/link.proto"], ["proto"])?;
    tonic_prost_build::configure().bytes(".").compile_fds(files)?;
    println!("cargo::rerun-if-changed=proto");
    Ok(())
}
