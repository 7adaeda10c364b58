//! Where flags come from. A source hands whole environments or single changes to the store; what is told to SDKs,
//! when, and whether it is a change at all, is not its business.

pub mod directory;
pub mod layout;
pub mod readable;
pub mod service;
pub mod standing;
pub mod web;

use std::sync::Arc;

use common::drain::Drain;
use tokio::sync::Notify;

use self::standing::Standing;
use crate::store::Store;

/// What a source is given: the store to tell, the place to say how it stands, and the stop to watch.
#[derive(Clone)]
pub struct Sink {
    /// Takes [`crate::store::Update`]s: first they are readable, then they are told.
    pub store: Arc<Store>,
    /// What `/health` says of the source.
    pub standing: Arc<Standing>,
    /// Asks the source to read everything now.
    pub look: Arc<Notify>,
    /// Ends the source.
    pub drain: Drain,
}
