//! Pure. What the API and the dashboard show of the data planes.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::control::Asked;

/// A data plane at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct PlaneView {
    /// Its name.
    pub name: String,
    /// Whether it is there.
    pub attached: bool,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The ports on which it cannot listen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deaf: Option<Vec<DeafPort>>,
}

/// A port on which a plane cannot listen.
#[derive(Clone, Debug, Serialize)]
pub struct DeafPort {
    /// The port.
    pub port: u32,
    /// Why.
    pub error: String,
}

/// Every plane that ever attached and was not forgotten.
pub fn planes(asked: &Asked<'_>) -> Vec<PlaneView> {
    let one = |plane: &Arc<str>| {
        let linked = asked.links.get(plane);
        let deaf =
            |port: &crate::wire::listening::Port| DeafPort { port: port.port, error: port.error.clone() };
        PlaneView {
            name: plane.to_string(),
            attached: linked.is_some(),
            since: linked.map(|linked| linked.since),
            version: linked.map(|linked| linked.link.version.clone()),
            deaf: linked.map(|linked| linked.deaf.iter().map(deaf).collect()),
        }
    };
    asked.kept.planes.iter().map(one).collect()
}
