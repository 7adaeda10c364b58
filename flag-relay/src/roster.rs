//! Who is connected: streams by environment and SDK.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{api::Opening, sdk::Sdk};

/// A place in the roster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) environment: Arc<str>,
    pub(crate) sdk: Sdk,
}

/// Counts of streams.
#[derive(Debug, Default)]
pub(crate) struct Roster(Mutex<BTreeMap<Place, u64>>);

impl Roster {
    /// A stream begins.
    pub(crate) fn enter(&self, opening: &Opening) -> Place {
        let place = Place { environment: Arc::clone(&opening.environment), sdk: Sdk::parse(&opening.sdk) };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(place.clone()).or_default() += 1;
        place
    }

    /// A stream is over.
    pub(crate) fn leave(&self, place: Place) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = places.get_mut(&place) {
            *count -= 1;
            if *count == 0 {
                places.remove(&place);
            }
        }
    }

    /// All places that are taken.
    pub(crate) fn all(&self) -> Vec<(Place, u64)> {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.iter().map(|(place, count)| (place.clone(), *count)).collect()
    }
}
