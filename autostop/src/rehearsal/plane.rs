//! A plane that loses its link, and clients that come and go.

use std::{sync::Arc, time::Duration};

use super::{Happening, Phase, Report, Told, World};
use crate::machine::Event;

#[derive(Clone, Debug, Default)]
pub(super) struct Plane {
    pub(super) known: bool,
    pub(super) attached: bool,
    pub(super) link: u64,
    pub(super) phase: Phase,
    generation: u64,
    somewhere: bool,
    pub(super) open: u32,
    pub(super) parked: u32,
    last_use: u64,
    /// What is said and told on one link arrives in order.
    said_at: u64,
    told_at: u64,
}

impl Plane {
    pub(super) fn name(at: usize) -> Arc<str> {
        format!("plane-{at}").into()
    }

    fn report(&self, now: u64) -> Report {
        let busy = self.open + self.parked > 0;
        let idle = if busy { 0 } else { now - self.last_use };
        Report {
            open_connections: self.open,
            open_requests: 0,
            parked: self.parked,
            idle: Duration::from_millis(idle),
        }
    }
}

impl World {
    fn say(&mut self, at: usize, event: Event) {
        let arrives = self.now + self.dice.u64(..300);
        let Some(plane) = self.planes.get_mut(at) else { return };
        if plane.attached {
            plane.said_at = plane.said_at.max(arrives);
            let (said_at, link) = (plane.said_at, plane.link);
            self.at(said_at, Happening::Said(at, link, event));
        }
    }

    pub(super) fn tell(&mut self, at: usize) {
        let steady = Duration::from_millis(self.now);
        let state = self.machine.target_state("rule", steady, None);
        let told = Told {
            phase: state.phase(),
            generation: state.generation,
            somewhere: !state.addresses.is_empty(),
        };
        let arrives = self.now + self.dice.u64(..300);
        let Some(plane) = self.planes.get_mut(at) else { return };
        if plane.attached {
            plane.told_at = plane.told_at.max(arrives);
            let (told_at, link) = (plane.told_at, plane.link);
            self.at(told_at, Happening::Told(at, link, told));
        }
    }

    pub(super) fn plane_hears(&mut self, at: usize, link: u64, told: Told) {
        let now = self.now;
        let carries = self.carries(told.phase, told.somewhere);
        let Some(plane) = self.planes.get_mut(at) else { return };
        if plane.link != link {
            return;
        }
        (plane.phase, plane.generation, plane.somewhere) = (told.phase, told.generation, told.somewhere);
        let parked = plane.parked;
        match told.phase {
            Phase::Awake | Phase::Waking if carries => {
                plane.open += parked;
                plane.parked = 0;
                plane.last_use = now;
                (0..parked).for_each(|_| self.soon(90_000, Happening::Leave(at)));
            }
            // Carried to a target that does not answer: that is an answer too.
            Phase::Awake | Phase::Failed | Phase::Closed => plane.parked = 0,
            Phase::Asleep if parked > 0 => self.say(at, Event::Wake("a client".into())),
            Phase::Fenced => {
                let (generation, report) = (plane.generation, plane.report(now));
                self.say(at, Event::Fenced(Plane::name(at), generation, report));
            }
            _ => {}
        }
    }

    pub(super) fn arrives(&mut self, at: usize) {
        if !self.calm {
            let pause = if self.dice.u8(..) < 200 { 20_000 } else { 600_000 };
            self.soon(pause, Happening::Arrive(at));
        }
        let now = self.now;
        let Some(plane) = self.planes.get(at) else { return };
        let carries = self.carries(plane.phase, plane.somewhere);
        let Some(plane) = self.planes.get_mut(at) else { return };
        match plane.phase {
            Phase::Awake | Phase::Waking if carries => {
                plane.open += 1;
                plane.last_use = now;
                self.soon(90_000, Happening::Leave(at));
            }
            Phase::Awake | Phase::Failed | Phase::Closed => {}
            phase => {
                plane.parked += 1;
                if phase == Phase::Asleep {
                    self.say(at, Event::Wake("a client".into()));
                }
            }
        }
    }

    pub(super) fn leaves(&mut self, at: usize) {
        let now = self.now;
        if let Some(plane) = self.planes.get_mut(at)
            && plane.open > 0
        {
            plane.open -= 1;
            plane.last_use = now;
        }
    }

    pub(super) fn reports(&mut self, at: usize) {
        let Some(plane) = self.planes.get(at) else { return };
        if plane.attached {
            let report = plane.report(self.now);
            let named = self.calm || self.dice.u8(..) > 3;
            self.say(at, Event::Activity(Plane::name(at), named.then_some(report)));
            let next = self.now + self.dice.u64(1_000..5_000);
            self.at(next, Happening::Report(at));
        }
    }

    pub(super) fn attaches(&mut self, at: usize) {
        let now = self.now;
        let Some(plane) = self.planes.get_mut(at) else { return };
        if plane.attached {
            return;
        }
        plane.link += 1;
        (plane.attached, plane.known) = (true, true);
        (plane.said_at, plane.told_at) = (now, now);
        let life = self.life;
        self.step(Event::Attached(Plane::name(at)));
        if life == self.life {
            self.tell(at);
            self.soon(1_000, Happening::Report(at));
        }
    }

    pub(super) fn detaches(&mut self, at: usize) {
        let restarts = self.dice.bool();
        let Some(plane) = self.planes.get_mut(at) else { return };
        if !plane.attached {
            return;
        }
        plane.attached = false;
        plane.link += 1;
        if restarts {
            let (link, known) = (plane.link, plane.known);
            *plane = Plane { link, known, last_use: self.now, ..Plane::default() };
        }
        self.soon(60_000, Happening::Attach(at));
        self.step(Event::Away(Plane::name(at)));
    }
}
