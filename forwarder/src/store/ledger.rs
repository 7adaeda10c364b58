//! Pure. Who captured how much, and where every exchange is: seen = stored + filtered + dropped + in flight.

use std::collections::BTreeMap;

use common::wire;
use serde::{Deserialize, Serialize};

/// What a proxy said of itself when it registered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// `APP_LABEL`.
    pub service: String,
    /// `APP_POD_NAMESPACE`.
    pub namespace: String,
    /// Version of goproxy.
    pub version: String,
    /// `PROXY_TYPE`.
    pub proxy_type: String,
    /// Where it sends what it receives, as configured.
    pub upstream_host: String,
    /// Port of that.
    pub upstream_port: u32,
    /// When it started, in nanoseconds since the Unix epoch.
    pub started_at_ns: u64,
    /// Where it listens.
    pub listen_port: u32,
}

/// The numbers of a proxy. A later report is nowhere smaller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Exchanges that ended.
    pub seen: u64,
    /// Of those, the ones that were given a sequence.
    pub sequenced: u64,
    /// Of those, the ones that a rule left out.
    pub filtered: u64,
    /// Of those, the ones that were dropped, by number of the reason.
    pub dropped: BTreeMap<i32, u64>,
}

/// One run of a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// `None` when it never registered here.
    pub registration: Option<Registration>,
    /// Its latest report.
    pub report: Report,
    /// Exchanges that were stored. Never lowered by retention.
    pub stored: u64,
    /// Exchanges that were stored and that damage to the log took away again.
    pub lost: u64,
    /// Everything up to this sequence was stored, or is counted as lost.
    pub through: u64,
    /// It said that it ends.
    pub closed: bool,
    /// It was reaped, or another epoch of the same proxy took its place. Ends when it is heard of again.
    pub cut: bool,
    /// When it was first heard of, in milliseconds since the Unix epoch.
    pub first_heard_ms: u64,
    /// When it was last heard of.
    pub last_heard_ms: u64,
}

/// Why something off the wire does not fit what is known.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// A report whose numbers do not add up, or that took back what an earlier one said.
    #[error("the report contradicts itself or an earlier one")]
    Report,
    /// A field that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Exchanges between the last stored one and this batch are missing.
    #[error("the batch begins behind a gap; stored through {stored_through}")]
    Gap {
        /// What the proxy should send next is the exchange behind this one.
        stored_through: u64,
    },
}

/// What to keep of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Exchanges at its start that were stored before.
    pub known: u32,
    /// Exchanges between the last stored one and this batch that are gone; only when a log is replayed.
    pub gap: u64,
    /// What is stored once this batch is.
    pub stored_through: u64,
}

/// Sums over the epochs of one proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Exchanges that ended.
    pub seen: u64,
    /// Exchanges that were acknowledged.
    pub stored: u64,
    /// Exchanges that a rule left out.
    pub filtered: u64,
    /// Exchanges that are gone, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Exchanges that the proxy still holds.
    pub in_flight: u64,
}

/// Every proxy that was ever heard of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    proxies: BTreeMap<String, BTreeMap<u64, Epoch>>,
}

impl Report {
    /// # Errors
    /// [`Contradiction::Report`] when the numbers do not add up.
    pub fn read(told: &wire::Report) -> Result<Self, Contradiction> {
        let mut dropped = BTreeMap::new();
        let mut sum = told.sequenced.checked_add(told.filtered);
        for drop in &told.dropped {
            sum = sum.and_then(|sum| sum.checked_add(drop.count));
            let entry: &mut u64 = dropped.entry(drop.reason).or_default();
            *entry = entry.saturating_add(drop.count);
        }
        if sum != Some(told.seen) {
            return Err(Contradiction::Report);
        }
        dropped.retain(|_, count| *count > 0);
        Ok(Self { seen: told.seen, sequenced: told.sequenced, filtered: told.filtered, dropped })
    }

    /// Whether no number of this report is smaller than the other's.
    fn covers(&self, other: &Self) -> bool {
        self.seen >= other.seen
            && self.sequenced >= other.sequenced
            && self.filtered >= other.filtered
            && other.dropped.iter().all(|(reason, count)| self.dropped.get(reason).unwrap_or(&0) >= count)
    }
}

impl Epoch {
    /// Reports grow, so of two the one that covers the other is the later, in whatever order they arrive.
    fn later_of(&self, told: Report) -> Result<Report, Contradiction> {
        match (told.covers(&self.report), self.report.covers(&told)) {
            (true, _) => Ok(told),
            (false, true) => Ok(self.report.clone()),
            (false, false) => Err(Contradiction::Report),
        }
    }

    /// What the proxy still holds, or held when it was last heard of.
    fn outstanding(&self) -> u64 {
        self.report.sequenced.saturating_sub(self.stored).saturating_sub(self.lost)
    }

    fn heard(&mut self, at_ms: u64) {
        self.cut = false;
        if self.first_heard_ms == 0 {
            self.first_heard_ms = at_ms;
        }
        self.last_heard_ms = self.last_heard_ms.max(at_ms);
    }

    fn add_to(&self, account: &mut Account) {
        // Saturating, because the numbers are told by others.
        let add = |sum: &mut u64, number: u64| *sum = sum.saturating_add(number);
        add(&mut account.seen, self.report.seen);
        add(&mut account.stored, self.stored);
        add(&mut account.filtered, self.report.filtered);
        let outstanding = self.outstanding();
        let ended = self.cut || self.closed;
        add(&mut account.in_flight, if ended { 0 } else { outstanding });
        let cut = if ended { outstanding } else { 0 };
        let reported = self.report.dropped.iter().map(|(reason, count)| (reason_name(*reason), *count));
        for (reason, count) in reported.chain([("cut", cut), ("lost", self.lost)]) {
            if count > 0 {
                add(account.dropped.entry(reason).or_default(), count);
            }
        }
    }
}

fn reason_name(number: i32) -> &'static str {
    match wire::DropReason::try_from(number) {
        Ok(wire::DropReason::Memory) => "memory",
        Ok(wire::DropReason::Decoder) => "decoder",
        Ok(wire::DropReason::Unspecified) | Err(_) => "other",
    }
}

impl Ledger {
    /// The run of a proxy, if it was heard of.
    pub fn epoch(&self, proxy: &str, epoch: u64) -> Option<&Epoch> {
        self.proxies.get(proxy)?.get(&epoch)
    }

    /// Every run of every proxy.
    pub fn epochs(&self) -> impl Iterator<Item = (&str, u64, &Epoch)> {
        self.proxies.iter().flat_map(|(proxy, epochs)| {
            epochs.iter().map(move |(number, epoch)| (proxy.as_str(), *number, epoch))
        })
    }

    /// Makes all that is known of one proxy what another ledger knows of it.
    pub fn copy_proxy(&mut self, from: &Self, proxy: &str) {
        match from.proxies.get(proxy) {
            Some(known) => self.proxies.insert(proxy.to_owned(), known.clone()),
            None => self.proxies.remove(proxy),
        };
    }

    /// What to keep of a batch of `count` exchanges, all of which make sense; see [`Ledger::batch`].
    ///
    /// # Errors
    /// [`Contradiction`], and nothing may be stored.
    pub fn accept(&self, batch: &wire::CaptureRequest, replay: bool) -> Result<Accepted, Contradiction> {
        let unknown = Epoch::default();
        let epoch = self.epoch(&batch.proxy_id, batch.epoch).unwrap_or(&unknown);
        let report = Report::read(batch.report.as_ref().ok_or(Contradiction::Missing("report"))?)?;
        let Some(before) = batch.first_sequence.checked_sub(1) else {
            return Err(Contradiction::Missing("first_sequence"));
        };
        let last = before.checked_add(u64::from(batch.count)).ok_or(Contradiction::Report)?;
        if epoch.later_of(report)?.sequenced < last {
            return Err(Contradiction::Report);
        }
        let gap = before.saturating_sub(epoch.through);
        if gap > 0 && !replay {
            return Err(Contradiction::Gap { stored_through: epoch.through });
        }
        let known = epoch.through.saturating_sub(before).min(u64::from(batch.count));
        Ok(Accepted {
            known: u32::try_from(known).unwrap_or(batch.count),
            gap,
            stored_through: epoch.through.max(last),
        })
    }

    /// A batch was stored.
    ///
    /// # Errors
    /// [`Contradiction`], and nothing was changed.
    pub fn batch(
        &mut self,
        batch: &wire::CaptureRequest,
        replay: bool,
        at_ms: u64,
    ) -> Result<Accepted, Contradiction> {
        let accepted = self.accept(batch, replay)?;
        let epoch = self.entry(&batch.proxy_id, batch.epoch);
        if let Some(told) = &batch.report {
            epoch.report = epoch.later_of(Report::read(told)?)?;
        }
        epoch.stored += u64::from(batch.count - accepted.known);
        epoch.lost += accepted.gap;
        epoch.through = accepted.stored_through;
        epoch.heard(at_ms);
        Ok(accepted)
    }

    /// A proxy registered; its other epochs are cut unless they closed. Returns what is stored of this one.
    pub fn register(&mut self, told: &wire::RegisterRequest, at_ms: u64) -> u64 {
        for other in self.proxies.get_mut(&told.proxy_id).into_iter().flat_map(BTreeMap::values_mut) {
            other.cut = !other.closed;
        }
        let epoch = self.entry(&told.proxy_id, told.epoch);
        epoch.registration = Some(Registration {
            service: told.service.clone(),
            namespace: told.namespace.clone(),
            version: told.version.clone(),
            proxy_type: told.proxy_type.clone(),
            upstream_host: told.upstream_host.clone(),
            upstream_port: told.upstream_port,
            started_at_ns: told.started_at_ns,
            listen_port: told.listen_port,
        });
        epoch.heard(at_ms);
        epoch.through
    }

    /// A proxy checked in. Returns whether anything but the time is new.
    ///
    /// # Errors
    /// [`Contradiction`], and nothing was changed.
    pub fn check_in(&mut self, told: &wire::CheckInRequest, at_ms: u64) -> Result<bool, Contradiction> {
        let unknown = Epoch::default();
        let known = self.epoch(&told.proxy_id, told.epoch).unwrap_or(&unknown);
        let report = match &told.report {
            None => known.report.clone(),
            Some(report) => known.later_of(Report::read(report)?)?,
        };
        let news = report != known.report || known.cut || (told.closing && !known.closed);
        let epoch = self.entry(&told.proxy_id, told.epoch);
        epoch.report = report;
        epoch.closed |= told.closing;
        epoch.heard(at_ms);
        Ok(news)
    }

    /// A proxy was not heard of for too long. Returns whether that is new.
    pub fn reap(&mut self, proxy: &str, epoch: u64) -> bool {
        let known = self.proxies.get_mut(proxy).and_then(|epochs| epochs.get_mut(&epoch));
        known.is_some_and(|epoch| {
            let news = !epoch.cut && !epoch.closed;
            epoch.cut |= news;
            news
        })
    }

    /// The accounts, by proxy id.
    pub fn accounting(&self) -> BTreeMap<String, Account> {
        let sum = |epochs: &BTreeMap<u64, Epoch>| {
            let mut account = Account::default();
            epochs.values().for_each(|epoch| epoch.add_to(&mut account));
            account
        };
        self.proxies.iter().map(|(proxy, epochs)| (proxy.clone(), sum(epochs))).collect()
    }

    fn entry(&mut self, proxy: &str, epoch: u64) -> &mut Epoch {
        self.proxies.entry(proxy.to_owned()).or_default().entry(epoch).or_default()
    }
}

#[cfg(test)]
mod tests;
