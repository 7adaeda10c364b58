//! The capture wire: what goproxy and forwarder say to each other (`proto/wayside/capture/v1`).

#[expect(
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    reason = "generated from capture.proto, which has the contracts"
)]
mod generated {
    tonic::include_proto!("wayside.capture.v1");
}
mod convert;

pub use convert::{Entry, Malformed, Opening, Place};
pub use generated::*;
