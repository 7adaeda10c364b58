//! One who came to the gate: counted from the first moment to the last.

use std::sync::Arc;

use super::{Gate, Inside, Phase, Wanter};
use crate::plane::visitor::{Kind, Visitor, now_ms};

/// What becomes of one who is at the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The target may be reached for, and will not be stopped meanwhile.
    Through,
    /// Later.
    Wait,
    /// Not this time; it may be told why.
    Failed,
    /// No.
    Closed,
}

#[derive(Clone, Copy)]
enum Place {
    Parked { willing: bool },
    Open { key: usize },
}

/// See the module. Dropped, it has left.
pub struct Visit {
    gate: Arc<Gate>,
    visitor: Arc<Visitor>,
    port: u16,
    place: Place,
    held: usize,
}

/// So many are parked already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Gate {
    /// Somebody came for this port of the target: through, or parked as long as there is room.
    ///
    /// # Errors
    /// When it would be parked, and there are so many already.
    pub fn enter(self: &Arc<Self>, visitor: Visitor, port: u16, room: u32) -> Result<Visit, Full> {
        let visitor = Arc::new(visitor);
        let mut inside = self.inside();
        let place = if inside.standing(port) == Standing::Through {
            inside.open(&visitor)
        } else if inside.counts.parked < room {
            inside.counts.parked += 1;
            Place::Parked { willing: false }
        } else {
            return Err(Full);
        };
        drop(inside);
        self.hear(&visitor);
        Ok(Visit { gate: Arc::clone(self), visitor, port, place, held: 0 })
    }
}

impl Inside {
    fn open(&mut self, visitor: &Arc<Visitor>) -> Place {
        match visitor.kind {
            Kind::Connection => self.counts.open_connections += 1,
            Kind::Request => {
                self.counts.open_requests += 1;
                self.active_ms = now_ms();
            }
            Kind::Aside => self.counts.open_requests += 1,
        }
        Place::Open { key: self.open.insert(Arc::clone(visitor)) }
    }

    fn leave(&mut self, visitor: &Visitor, place: Place) {
        match place {
            Place::Parked { willing } => {
                self.counts.parked -= 1;
                self.willing -= u32::from(willing);
            }
            Place::Open { key } => {
                self.open.remove(key);
                match visitor.kind {
                    Kind::Connection => self.counts.open_connections -= 1,
                    Kind::Request | Kind::Aside => self.counts.open_requests -= 1,
                }
                let sum = visitor.sum(now_ms());
                self.bytes_up += sum.up;
                self.bytes_down += sum.down;
                self.active_ms = self.active_ms.max(sum.counted_ms.unwrap_or_default());
            }
        }
    }
}

impl Visit {
    /// Who it is.
    pub fn visitor(&self) -> &Visitor {
        &self.visitor
    }

    /// The same, to keep.
    pub fn visitor_shared(&self) -> Arc<Visitor> {
        Arc::clone(&self.visitor)
    }

    /// The gate it is at.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Whether it is counted among those that are open.
    pub fn is_through(&self) -> bool {
        matches!(self.place, Place::Open { .. })
    }

    /// Looks at the phase, and goes through if it may.
    pub fn look(&mut self) -> Standing {
        let mut inside = self.gate.inside();
        let standing = inside.standing(self.port);
        match self.place {
            Place::Open { .. } => Standing::Through,
            Place::Parked { .. } if standing == Standing::Through => {
                inside.leave(&self.visitor, self.place);
                self.place = inside.open(&self.visitor);
                standing
            }
            Place::Parked { .. } => standing,
        }
    }

    /// One that went through and could not reach the target waits again, if the target has gone or is
    /// still starting: then its port answered once and has to do so again. Says whether it does.
    pub fn park_again(&mut self) -> bool {
        let mut inside = self.gate.inside();
        let Place::Open { .. } = self.place else { return true };
        if inside.state.phase == Phase::Waking {
            inside.ready.remove(&self.port);
        }
        if inside.standing(self.port) == Standing::Through {
            return false;
        }
        inside.leave(&self.visitor, self.place);
        inside.counts.parked += 1;
        self.place = Place::Parked { willing: false };
        true
    }

    /// A request that went through became a connection.
    pub fn become_connection(&mut self, visitor: Visitor) {
        let visitor = Arc::new(visitor);
        let mut inside = self.gate.inside();
        if self.is_through() {
            inside.leave(&self.visitor, self.place);
            self.place = inside.open(&visitor);
            self.visitor = visitor;
        }
    }

    /// Takes room for at most so many bytes that it says, as far as all who wait may say `limit` together;
    /// returns for how many.
    pub fn make_room(&mut self, most: usize, limit: usize) -> usize {
        let mut inside = self.gate.inside();
        let room = most.min(limit.saturating_sub(inside.held));
        inside.held += room;
        self.held += room;
        room
    }

    /// Gives back room that was taken.
    pub fn give_room(&mut self, unused: usize) {
        let unused = unused.min(self.held);
        self.held -= unused;
        self.gate.inside().held -= unused;
    }

    /// What it said is on its way.
    pub fn delivered(&mut self) {
        self.give_room(self.held);
    }

    /// It wants the target awake.
    pub fn want(&mut self) {
        let mut inside = self.gate.inside();
        let Place::Parked { willing: willing @ false } = &mut self.place else { return };
        *willing = true;
        inside.willing += 1;
        inside.wanter = Some(Wanter::from(&*self.visitor));
        let first = inside.willing == 1;
        drop(inside);
        if first {
            self.gate.bell.notify_one();
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut inside = self.gate.inside();
        inside.leave(&self.visitor, self.place);
        inside.held -= self.held;
    }
}
