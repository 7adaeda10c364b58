//! Crashes and failures at every step.
