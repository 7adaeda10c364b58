//! Pure. The steps of a decision, for whoever wants to know why.

/// One step on the way to a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// How far it belongs under the step before it.
    pub depth: usize,
    /// What was found.
    pub text: String,
}

impl Step {
    pub(super) fn new(depth: usize, text: impl Into<String>) -> Self {
        Self { depth, text: text.into() }
    }
}

/// Somebody who may want to know the steps.
pub(super) trait Watch {
    fn note(&mut self, step: impl FnOnce() -> Step);
}

/// Nobody wants to know.
impl Watch for () {
    fn note(&mut self, _: impl FnOnce() -> Step) {}
}

/// Keeps every step.
#[derive(Debug, Default)]
pub struct Steps(Vec<Step>);

impl Steps {
    /// What was kept, in order.
    pub fn into_steps(self) -> Vec<Step> {
        self.0
    }
}

impl Watch for Steps {
    fn note(&mut self, step: impl FnOnce() -> Step) {
        self.0.push(step());
    }
}
