//! What was saved in the last thirty days, added up once in a while and not for everybody who looks.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{sync::Mutex, time::Instant};

use super::span::Span;
use crate::{
    control::{Control, view},
    ledger::{self, Savings},
};

/// It is added up again after so long.
const FRESH: Duration = Duration::from_secs(20);

/// The last thirty days.
pub(super) struct Month {
    /// All rules together, by day.
    pub(super) all: Savings,
    /// Each rule, by id.
    pub(super) rules: BTreeMap<String, Savings>,
}

/// The sums, as they were not long ago.
#[derive(Default)]
pub(super) struct Books {
    month: Mutex<Option<(Instant, Arc<Month>)>>,
}

impl Books {
    /// The last thirty days.
    ///
    /// # Errors
    /// When the control plane has ended.
    pub(super) async fn month(&self, control: &Control) -> anyhow::Result<Arc<Month>> {
        // Who comes while it is added up waits for that.
        let mut kept = self.month.lock().await;
        if let Some((at, month)) = &*kept
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(month));
        }
        let now = control.look(|asked| asked.now.wall).await?;
        let period = Span::default().period(now).map_err(anyhow::Error::msg)?;
        let from = period.from;
        let past = control.look(move |asked| view::past(asked, from)).await?;
        let accounts: Vec<_> = past.iter().map(view::Past::account).collect();
        let all = ledger::savings(&accounts, &period);
        let rules = past.iter().map(|past| (past.id.clone(), ledger::savings(&[past.account()], &period)));
        let month = Arc::new(Month { all, rules: rules.collect() });
        *kept = Some((Instant::now(), Arc::clone(&month)));
        Ok(month)
    }
}
