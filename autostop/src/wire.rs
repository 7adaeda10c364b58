//! The link between control plane and data plane (`proto/wayside/autostop/v1`).

#[expect(
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    reason = "generated from link.proto, which has the contracts"
)]
mod generated {
    tonic::include_proto!("wayside.autostop.v1");
}

pub use generated::*;
