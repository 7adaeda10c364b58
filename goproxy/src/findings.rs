//! Pure. A set of findings.

use common::exchange::Finding;

/// The findings of one exchange, gathered without memory of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings(u32);

impl Findings {
    pub(crate) fn add(&mut self, finding: Finding) {
        self.0 |= 1 << (finding as u32);
    }

    pub(crate) fn merge(&mut self, others: Self) {
        self.0 |= others.0;
    }

    /// Each once, in the order of their numbers.
    pub(crate) fn to_vec(self) -> Vec<Finding> {
        if self.0 == 0 {
            return Vec::new();
        }
        Finding::ALL.iter().copied().filter(|&finding| self.0 & (1 << (finding as u32)) != 0).collect()
    }
}
