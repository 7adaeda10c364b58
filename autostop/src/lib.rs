//! Puts idle machines to sleep and wakes them when someone connects: `lw_proxy`, the control plane, and
//! `lw_tcp_proxy`, the data plane.

pub mod hold;
pub mod plane;
pub mod wire;
