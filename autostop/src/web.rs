//! What answers on proxyPort: the hint for people who troubleshoot, the API, the dashboard.

mod access;
mod api;

use std::sync::Arc;

use axum::{Router, routing::get};
use tokio::sync::watch;

use crate::{
    config::{Config, Live},
    control::Control,
};

/// Everything on proxyPort but health.
pub fn router(control: Control, config: &Config, live: watch::Receiver<Arc<Live>>) -> Router {
    let account = config.account_id.clone();
    let access_point = config.access_point_id.clone();
    // The documented hint that the proxy works: text with the account id.
    let hint = move || async move { format!("lw_proxy {access_point} of account {account}\n") };
    Router::new().route("/", get(hint)).merge(api::router(control, live))
}
