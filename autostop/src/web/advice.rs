//! Pure. What somebody can do about what went wrong.

/// Parts of what is told, and what helps.
const KNOWN: [(&str, &str); 17] = [
    ("too many calls", "It is tried again by itself; raise calls_per_minute if the provider allows more."),
    ("still changing", "It is tried again by itself once the target has settled."),
    ("no capacity", "It is tried again by itself; another size or zone may have room."),
    ("not allowed", "Give the account of lw_proxy the right to start, stop and describe this target."),
    ("no answer in time", "Look whether the provider answers at all; its timeout is set in its table."),
    ("does not exist", "Check the ids under [filter] in the rule's file; the target may have been deleted."),
    (
        "it does not exist",
        "Check the ids under [filter] in the rule's file; the target may have been deleted.",
    ),
    ("cut off", "Look at the log of the provider; it ended in the middle of a call."),
    ("cannot be reached", "Look whether the provider runs, and whether lw_proxy may connect to it."),
    ("cannot do that", "Choose another provider for this rule, or another way to stop it."),
    ("is not configured", "Add its [providers.NAME] table to the configuration, and restart."),
    ("which it depends on", "Look at that rule first; this one follows."),
    (
        "what it depends on",
        "Look at the rules that it depends on; start_timeout of this one may be too short.",
    ),
    (
        "was not ready in time",
        "It runs, but its health check fails: check its service, [http.health] and ports.",
    ),
    (
        "did not run in time",
        "Look at the target by its provider's own tools; start_timeout may be too short.",
    ),
    (
        "did not stop in time",
        "Look at the target by its provider's own tools; stop_timeout may be too short.",
    ),
    ("the stop did not happen", "It is tried again by itself once it is idle."),
];

/// What to do about an error; something true of all of them when it is not known.
pub(super) fn advice(error: &str) -> &'static str {
    let known = KNOWN.iter().find(|(part, _)| error.contains(part));
    known
        .map_or("Look at the target by its provider's own tools, and at the log of lw_proxy.", |(_, help)| {
            *help
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Fault;

    #[test]
    fn every_fault_that_has_a_name_has_advice_of_its_own() {
        let names = ["throttled", "busy", "no_capacity", "denied", "timeout", "gone", "interrupted"];
        for name in names.into_iter().chain(["unreachable", "unsupported"]) {
            let told = advice(&Fault::named(name, None).said("what it said").to_string());
            assert_ne!(told, advice("?"), "{name}");
        }
    }
}
