//! The last plan, kept on disk: a plane that starts while the control plane is away listens where it did, and holds
//! whoever comes.

use std::{
    fs, io,
    path::Path,
    sync::{Mutex, PoisonError},
};

use common::disk::replace_private;
use prost::Message as _;

use crate::wire::Plan;

static WRITING: Mutex<()> = Mutex::new(());

/// The plan that was kept last, if there is one that can be read.
pub fn load(path: &Path) -> Option<Plan> {
    let bytes = fs::read(path).ok()?;
    match Plan::decode(bytes.as_slice()) {
        // A file that a power cut left empty is no plan.
        Ok(plan) => (plan.revision > 0).then_some(plan),
        Err(error) => {
            tracing::warn!(%error, "the kept plan cannot be read; the control plane tells it again");
            None
        }
    }
}

/// Keeps a plan, for nobody else to read: there are keys in it.
///
/// # Errors
/// When it cannot be written; the one before it is there still.
pub fn keep(path: &Path, plan: &Plan) -> io::Result<()> {
    // A link that broke amid this leaves it to end by itself, while the next one has a plan to keep already.
    let _one_after_the_other = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    replace_private(path, &plan.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_plan_is_kept_for_oneself_and_damage_is_no_plan() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan");
        assert_eq!(load(&path), None);
        for revision in 1..=2 {
            let plan = Plan { revision, ..Plan::default() };
            keep(&path, &plan).unwrap();
            assert_eq!(load(&path), Some(plan));
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for damage in [&b""[..], b"\xff\xff\xff"] {
            fs::write(&path, damage).unwrap();
            assert_eq!(load(&path), None);
        }
    }

    #[test]
    fn two_who_keep_at_once_are_not_in_each_others_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan");
        let keep_often = |first: u64| {
            for revision in first..first + 50 {
                keep(&path, &Plan { revision, ..Plan::default() }).unwrap();
            }
        };
        std::thread::scope(|scope| {
            for first in [1, 101, 201, 301] {
                scope.spawn(move || keep_often(first));
            }
        });
        assert!(load(&path).is_some());
    }
}
