//! The control plane: rules, machines, providers and planes brought together.

pub mod book;
pub mod call;
pub mod fleet;
pub mod folder;
pub mod link;
pub mod mind;
pub mod probe;
pub mod record;
mod run;
pub mod server;
mod shared;
mod vault;
pub mod view;

pub use run::{Asked, Control, Input};
pub use server::{Start, serve};
