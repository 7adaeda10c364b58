//! Pure. Whether a target is in use, from what every data plane says of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A point on the control plane's steady clock: the time since some fixed point, best one long past. It
/// never steps, whatever the wall clock does.
pub type Moment = Duration;

/// What one plane says of one target, in its activity and in its answer to a fence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Report {
    /// Connections to the target that are open.
    pub open_connections: u32,
    /// Requests that wait for the end of their answer.
    pub open_requests: u32,
    /// Connections and requests that are held.
    pub parked: u32,
    /// Since something last happened that keeps the target awake; zero while something does.
    pub idle: Duration,
}

impl Report {
    fn holds(&self, under_keepalives: bool) -> bool {
        let open = u64::from(self.open_connections) + u64::from(self.open_requests);
        self.parked > 0
            || (open > 0 && !(under_keepalives && self.open_requests == 0 && !self.idle.is_zero()))
    }
}

/// What keeps a target in use, or since when nothing does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Nobody can say, and so it is in use.
    Unknown(Doubt),
    /// The planes count this many open connections, open requests and held clients together.
    InUse(u64),
    /// Idle since this moment.
    Idle(Moment),
}

/// Why nobody can say whether a target is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// No plane ever attached.
    NoPlane,
    /// This plane attached once and is away.
    Away(Arc<str>),
    /// This plane is attached, and did not speak of the target, or not of late.
    Silent(Arc<str>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Plane {
    attached: bool,
    said: Option<(Moment, Report)>,
    fenced: Option<(u64, Report)>,
}

/// All planes that are known, and what each said last of one target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Planes {
    /// Boxed: a map makes room for eleven at once, and most targets know one.
    planes: BTreeMap<Arc<str>, Box<Plane>>,
}

impl Planes {
    /// A plane attached, perhaps again: what it said on an older link is void.
    pub fn attach(&mut self, plane: Arc<str>) {
        self.planes.insert(plane, Box::new(Plane { attached: true, ..Plane::default() }));
    }

    /// A plane that attached once, perhaps to an earlier run of the control plane, is away.
    pub fn away(&mut self, plane: Arc<str>) {
        self.planes.insert(plane, Box::default());
    }

    /// A plane is gone for good.
    pub fn forget(&mut self, plane: &str) {
        self.planes.remove(plane);
    }

    /// A plane reported activity; `None` when it did not name the target.
    pub fn report(&mut self, plane: &str, now: Moment, report: Option<Report>) {
        if let Some(plane) = self.planes.get_mut(plane) {
            plane.said = report.map(|report| (now, report));
        }
    }

    /// A plane answered the fence of a generation.
    pub fn fenced(&mut self, plane: &str, generation: u64, report: Report) {
        if let Some(plane) = self.planes.get_mut(plane) {
            plane.fenced = Some((generation, report));
        }
    }

    /// Forgets every report: what was said before an aborted fence does not start the next.
    pub fn doubt_all(&mut self) {
        for plane in self.planes.values_mut() {
            plane.said = None;
        }
    }

    pub(crate) fn rebase(&mut self, past: impl Fn(&mut Moment), less: u64) {
        for plane in self.planes.values_mut() {
            if let Some((at, _)) = &mut plane.said {
                past(at);
            }
            if let Some((generation, _)) = &mut plane.fenced {
                *generation = generation.saturating_sub(less);
            }
        }
    }

    /// Whether the target is in use. A report older than `stale` says nothing. With `under_keepalives`, an
    /// open connection that only keeps itself alive does not count.
    pub fn usage(&self, now: Moment, stale: Duration, under_keepalives: bool) -> Usage {
        if self.planes.is_empty() {
            return Usage::Unknown(Doubt::NoPlane);
        }
        let (mut open, mut since) = (0, Moment::ZERO);
        for (name, plane) in &self.planes {
            match plane.said {
                _ if !plane.attached => return Usage::Unknown(Doubt::Away(name.clone())),
                Some((at, report)) if now < at + stale => {
                    if report.holds(under_keepalives) {
                        open += u64::from(report.open_connections)
                            + u64::from(report.open_requests)
                            + u64::from(report.parked);
                    }
                    since = since.max(at.saturating_sub(report.idle));
                }
                _ => return Usage::Unknown(Doubt::Silent(name.clone())),
            }
        }
        if open > 0 { Usage::InUse(open) } else { Usage::Idle(since) }
    }

    /// How the fence of a generation stands. A plane that is away, in use, or was idle for less than
    /// `idle` breaks it.
    pub fn fence(&self, generation: u64, idle: Duration, under_keepalives: bool) -> Fence {
        let answers = || self.planes.values().map(|plane| (plane.attached, plane.fenced));
        if self.planes.is_empty() || answers().any(|(attached, _)| !attached) {
            return Fence::Broken;
        }
        let ours = |fenced: Option<(u64, Report)>| fenced.filter(|(of, _)| *of == generation);
        if answers().any(|(_, fenced)| {
            ours(fenced).is_some_and(|(_, report)| report.holds(under_keepalives) || report.idle < idle)
        }) {
            return Fence::Broken;
        }
        if answers().all(|(_, fenced)| ours(fenced).is_some()) { Fence::Closed } else { Fence::Closing }
    }
}

/// How a fence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// Not every plane has answered.
    Closing,
    /// Every known plane parks what arrives, and carries nothing.
    Closed,
    /// Somebody uses the target, or a plane cannot be asked.
    Broken,
}

#[cfg(test)]
mod tests;
