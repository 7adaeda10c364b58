//! Pure. How a state looks: a word, a shape and a color, which never speaks alone.

/// A state on a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// As the API has it, to choose by.
    pub(super) state: &'static str,
    /// As people say it.
    pub(super) word: &'static str,
    /// A class of the style sheet.
    pub(super) class: &'static str,
    /// Beside the word, so that the color is not alone.
    pub(super) shape: &'static str,
    /// What it means.
    pub(super) meaning: &'static str,
}

const fn look(
    state: &'static str,
    word: &'static str,
    class: &'static str,
    shape: &'static str,
    meaning: &'static str,
) -> Look {
    Look { state, word, class, shape, meaning }
}

/// All states, in the order in which they are counted.
pub(super) static LOOKS: [Look; 10] = [
    look("errored", "errored", "bad", "▲", "The last wake failed, or nobody can say how it is."),
    look("active", "active", "good", "●", "It is up, and carries whoever comes."),
    look("warmingup", "warming up", "note", "◐", "It is on its way up; whoever came is held."),
    look("coolingdown", "cooling down", "warn", "◑", "A stop was called; whoever comes wakes it again."),
    look("down", "down", "calm", "○", "It is stopped; whoever comes wakes it."),
    look(
        "scheduled_downtime",
        "scheduled downtime",
        "calm",
        "◇",
        "Its schedule keeps it down; nobody wakes it.",
    ),
    look("disabled", "disabled", "off", "■", "It is left alone: neither started nor stopped."),
    look("enabled", "enabled", "note", "◌", "It was enabled again, and is being looked at."),
    look("created", "created", "note", "◌", "It is new, and is being looked at."),
    look("deleted", "deleted", "off", "■", "The rule is gone."),
];

/// The look of a state that the API names.
pub(super) fn of(state: &str) -> Look {
    let known = LOOKS.iter().find(|look| look.state == state);
    known.copied().unwrap_or(look("", "unknown", "off", "■", ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::State;

    #[test]
    fn every_state_has_a_look() {
        use State::{
            Active, CoolingDown, Created, Deleted, Disabled, Down, Enabled, Errored, ScheduledDowntime,
            WarmingUp,
        };
        let all = [
            Active,
            CoolingDown,
            Created,
            Deleted,
            Disabled,
            Down,
            Enabled,
            Errored,
            ScheduledDowntime,
            WarmingUp,
        ];
        for state in all {
            let name = serde_json::to_value(state).unwrap();
            assert_eq!(of(name.as_str().unwrap()).state, name, "{state:?}");
        }
    }
}
