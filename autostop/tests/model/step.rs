//! What may happen next, and what comes of it.

use std::time::Duration;

use autostop::{
    machine::{Event, Machine, Order, Outcome, State, Status, Verb},
    wire::Phase,
};

use crate::world::{
    Action, Broken, Client, Flight, GENERATION, LONG_AGO, MOST_IDLE, NOW, TICK, World, Worlds, clock, plane,
};

impl Worlds {
    pub(crate) fn possible(&self, world: &World, actions: &mut Vec<Action>) {
        if world.cut || world.two_calls || world.unsettled {
            // What comes after a broken law tells nothing.
            return;
        }
        if world.crashes > 0 {
            actions.push(Action::Crash);
        }
        if let Some(at) = world.targets.iter().position(|target| !target.todo.is_empty()) {
            actions.push(Action::Proceed(at));
            return;
        }
        for (at, client) in world.clients.iter().enumerate() {
            if at > 0 && (self.wants[at - 1], world.clients[at - 1]) == (self.wants[at], *client) {
                continue;
            }
            match client {
                Client::Away => actions.push(Action::Arrive(at)),
                Client::Open => actions.push(Action::Leave(at)),
                _ => {}
            }
        }
        let mut quiet = true;
        // The link is one stream: what the targets say and hear on it does not overtake each other.
        let (mut telling, mut hearing) = (false, false);
        for (at, target) in world.targets.iter().enumerate() {
            if !telling && !target.to_plane.is_empty() {
                actions.push(Action::ToPlane(at));
                telling = true;
            }
            if !hearing && !target.to_control.is_empty() {
                actions.push(Action::ToControl(at));
                hearing = true;
            }
            if target.machine.probing().is_some() && target.real == Status::Running {
                actions.push(Action::Ready(at));
                quiet &= world.faults > 0;
            }
            if target.lingers.is_some() {
                actions.push(Action::Effect(at));
            }
            if let Some(call) = target.call {
                quiet &= world.faults > 0;
                self.answers(world, at, call, actions);
            }
            let still = matches!(target.real, Status::Running | Status::Stopped) && target.lingers.is_none();
            if world.faults > 0 && still {
                actions.push(Action::SomebodyElse(at));
            }
        }
        if world.attached {
            if world.faults > 0 {
                actions.push(Action::Detach);
            }
        } else {
            actions.push(Action::Attach);
            quiet &= world.away == 0;
        }
        if quiet && !telling && !hearing {
            actions.push(Action::Tick);
        }
    }

    fn answers(&self, world: &World, at: usize, call: Flight, actions: &mut Vec<Action>) {
        let target = &world.targets[at];
        let failed = || Action::Answer(at, Outcome::Failed("rude".to_owned()));
        let effective = matches!(
            (call.verb, target.real),
            (Verb::Start, Status::Stopped) | (Verb::Stop, Status::Running)
        );
        match (call.verb, target.real) {
            (Verb::Status, real) => {
                actions.push(Action::Answer(at, Outcome::Seen(real, vec!["a".to_owned()])));
            }
            (_, Status::Starting | Status::Stopping) if !call.done => {
                actions.push(Action::Answer(at, Outcome::Changing));
            }
            _ if call.done || !effective => actions.push(Action::Answer(at, Outcome::Accepted)),
            _ => {
                actions.push(Action::Effect(at));
                if world.faults > 0 {
                    // A yes before it is so.
                    actions.push(Action::Answer(at, Outcome::Accepted));
                }
            }
        }
        if world.faults > 0 {
            actions.push(failed());
        }
    }

    pub(crate) fn after(&self, mut world: World, action: Action) -> World {
        match action {
            Action::Arrive(client) => self.arrive(&mut world, client),
            Action::Leave(client) => {
                world.clients[client] = Client::Gone;
                world.targets[self.wants[client]].idle = 0;
            }
            Action::Proceed(at) => {
                let orders = std::mem::take(&mut world.targets[at].todo);
                self.carry_out(&mut world, at, orders);
            }
            Action::ToPlane(at) => self.plane_hears(&mut world, at),
            Action::ToControl(at) => {
                let event = world.targets[at].to_control.remove(0);
                self.step(&mut world, at, event);
            }
            Action::Effect(at) => self.effect(&mut world, at),
            Action::Answer(at, outcome) => self.answer(&mut world, at, outcome),
            Action::Ready(at) => {
                if let Some(number) = world.targets[at].machine.probing() {
                    self.step(&mut world, at, Event::Ready(number));
                }
            }
            Action::SomebodyElse(at) => {
                world.faults -= 1;
                let target = &mut world.targets[at];
                if target.real == Status::Stopped {
                    target.real = Status::Starting;
                } else {
                    target.real = Status::Stopping;
                    // Cut, but not by us.
                    for (client, wants) in world.clients.iter_mut().zip(&self.wants) {
                        if *wants == at && *client == Client::Open {
                            *client = Client::Gone;
                        }
                    }
                }
            }
            Action::Detach => {
                world.faults -= 1;
                self.unlink(&mut world);
                for at in 0..world.targets.len() {
                    if self.broken == Broken::SilenceIsIdle {
                        self.step(&mut world, at, Event::Activity(plane(), Some(idle())));
                        let state = world.targets[at].machine.target_state("rule", NOW, None);
                        self.step(&mut world, at, Event::Fenced(plane(), state.generation, idle()));
                    } else {
                        self.step(&mut world, at, Event::Away(plane()));
                    }
                }
            }
            Action::Attach => {
                world.attached = true;
                for at in 0..world.targets.len() {
                    self.step(&mut world, at, Event::Attached(plane()));
                    tell(&mut world, at);
                    let report = world.report(self, at);
                    world.targets[at].to_control.push(Event::Activity(plane(), Some(report)));
                }
            }
            Action::Crash => self.crash(&mut world),
            Action::Tick => self.tick(&mut world),
        }
        self.coordinate(&mut world);
        // Who wants the same is alike.
        for at in 0..world.targets.len() {
            let mut alike: Vec<_> = world.of(self, at).collect();
            alike.sort_unstable();
            let mine = world.clients.iter_mut().zip(&self.wants).filter(|(_, wants)| **wants == at);
            mine.zip(&alike).for_each(|((client, _), alike)| *client = *alike);
            if !alike.contains(&Client::Parked) {
                world.targets[at].waits_for = 0;
            }
        }
        for target in &mut world.targets {
            let less = target.machine.rebase(Duration::ZERO, NOW, LONG_AGO, GENERATION);
            target.forget(less);
        }
        world
    }

    fn arrive(&self, world: &mut World, client: usize) {
        let target = &mut world.targets[self.wants[client]];
        let running = target.real == Status::Running;
        world.clients[client] = match target.phase {
            Phase::Awake | Phase::Waking if running && target.carries() => Client::Open,
            Phase::Awake | Phase::Failed | Phase::Closed => Client::Gone,
            _ => Client::Parked,
        };
        if world.clients[client] == Client::Parked && target.phase == Phase::Asleep && world.attached {
            target.to_control.push(Event::Wake("client".into()));
        }
    }

    fn plane_hears(&self, world: &mut World, at: usize) {
        let (phase, generation, somewhere) = world.targets[at].to_plane.remove(0);
        let report = world.report(self, at);
        let target = &mut world.targets[at];
        (target.phase, target.somewhere) = (phase, somewhere);
        let running = target.real == Status::Running;
        let becomes = match phase {
            Phase::Awake | Phase::Waking if running && target.carries() => Some(Client::Open),
            Phase::Awake | Phase::Failed | Phase::Closed => Some(Client::Gone),
            _ => None,
        };
        match phase {
            Phase::Asleep if report.parked > 0 => target.to_control.push(Event::Wake("client".into())),
            Phase::Fenced => target.to_control.push(Event::Fenced(plane(), generation, report)),
            _ => {}
        }
        if report.parked > 0 && becomes.is_some() {
            target.idle = 0;
        }
        for (client, wants) in world.clients.iter_mut().zip(&self.wants) {
            if let (Client::Parked, Some(becomes)) = (*client, becomes)
                && *wants == at
            {
                *client = becomes;
            }
        }
    }

    fn effect(&self, world: &mut World, at: usize) {
        let target = &mut world.targets[at];
        let verb = match (&mut target.call, target.lingers.take()) {
            (_, Some((verb, _))) => verb,
            (Some(call), None) => {
                call.done = true;
                call.verb
            }
            (None, None) => return,
        };
        match (verb, target.real) {
            (Verb::Start, Status::Stopped) => target.real = Status::Starting,
            (Verb::Stop, Status::Running) => {
                target.real = Status::Stopping;
                let open = world.of(self, at).any(|client| client == Client::Open);
                world.cut |= open;
            }
            _ => {}
        }
    }

    fn answer(&self, world: &mut World, at: usize, outcome: Outcome) {
        let target = &mut world.targets[at];
        let Some(call) = target.call.take() else { return };
        let effective = matches!(
            (call.verb, target.real),
            (Verb::Start, Status::Stopped) | (Verb::Stop, Status::Running)
        );
        let fails = matches!(outcome, Outcome::Failed(_));
        if fails || (outcome == Outcome::Accepted && !call.done && effective) {
            world.faults -= 1;
            if !call.done && call.verb != Verb::Status {
                target.lingers = Some((call.verb, 1));
            }
        }
        self.step(world, at, Event::Answer(call.id, outcome));
    }

    fn unlink(&self, world: &mut World) {
        world.attached = false;
        world.away = 0;
        for target in &mut world.targets {
            target.to_plane.clear();
            target.to_control.clear();
        }
    }

    fn crash(&self, world: &mut World) {
        world.crashes -= 1;
        self.unlink(world);
        for at in 0..world.targets.len() {
            let target = &mut world.targets[at];
            target.todo.clear();
            target.waits = false;
            if let Some(call) = target.call.take()
                && !call.done
                && call.verb != Verb::Status
            {
                target.lingers = Some((call.verb, 1));
            }
            let last = match (self.broken, target.durable) {
                (Broken::ForgetsStarts, State::WarmingUp) => State::Down,
                (_, last) => last,
            };
            target.machine = Machine::recover(clock(), last, vec!["a".to_owned()], &self.settings[at]);
            self.step(world, at, Event::Away(plane()));
        }
    }

    fn tick(&self, world: &mut World) {
        if !world.attached {
            world.away += 1;
        }
        let late = |target: &crate::world::Target| {
            target.call.is_some() || (target.machine.probing().is_some() && target.real == Status::Running)
        };
        if world.targets.iter().any(late) {
            world.faults -= 1;
        }
        for at in 0..world.targets.len() {
            let target = &mut world.targets[at];
            target.idle = (target.idle + 1).min(MOST_IDLE);
            target.waits_for = target.waits_for.saturating_add(1);
            target.real = match target.real {
                Status::Starting => Status::Running,
                Status::Stopping => Status::Stopped,
                real => real,
            };
            target.lingers = target.lingers.and_then(|(verb, left)| Some((verb, left.checked_sub(1)?)));
            let less = target.machine.rebase(TICK, NOW, LONG_AGO, GENERATION);
            target.forget(less);
            let mut lost = None;
            if let Some(call) = &mut target.call {
                call.id = autostop::machine::CallId(2);
                call.left -= 1;
                if call.left == 0 {
                    target.call = None;
                } else if self.broken == Broken::GivesUpCalls {
                    lost = Some(Event::Answer(call.id, Outcome::Lost));
                }
            }
            if world.attached {
                let report = world.report(self, at);
                world.targets[at].to_control.push(Event::Activity(plane(), Some(report)));
            }
            self.step(world, at, lost.unwrap_or(Event::Tick));
        }
    }

    fn step(&self, world: &mut World, at: usize, event: Event) {
        let target = &mut world.targets[at];
        let event = match (self.broken, event) {
            (Broken::NoRecheck, Event::Fenced(plane, generation, _)) => {
                Event::Fenced(plane, generation, idle())
            }
            (Broken::LosesWakes, Event::Wake(_)) if target.durable == State::CoolingDown => return,
            (_, event) => event,
        };
        let orders = target.machine.step(clock(), event, &self.settings[at]);
        self.carry_out(world, at, orders);
    }

    fn carry_out(&self, world: &mut World, at: usize, orders: Vec<Order>) {
        let mut orders = orders.into_iter();
        while let Some(order) = orders.next() {
            let target = &mut world.targets[at];
            match order {
                Order::Journal(change) => {
                    target.durable = change.to;
                    target.todo.extend(orders);
                    return;
                }
                Order::Call { id, verb, within } => {
                    world.two_calls |= target.call.is_some();
                    world.unsettled |= verb != Verb::Status && target.lingers.is_some();
                    let left = within.as_secs() as u8;
                    target.call = Some(Flight { id, verb, left, done: false });
                    let open = world.of(self, at).any(|client| client == Client::Open);
                    world.cut |= verb == Verb::Stop && open;
                }
                Order::Tell => tell(world, at),
                Order::WakeDependencies => target.waits = true,
                Order::Probe(_) | Order::Refuse(_) => {}
            }
        }
    }

    /// What the control plane does for dependencies: the second target depends on the first.
    fn coordinate(&self, world: &mut World) {
        if world.targets.len() < 2 || world.targets.iter().any(|target| !target.todo.is_empty()) {
            return;
        }
        let needed = world.targets[1].machine.state().needs();
        self.step(world, 0, Event::Needed(needed));
        if !world.targets[1].waits || !world.targets[0].todo.is_empty() {
            return;
        }
        let event = match world.targets[0].machine.state() {
            State::Active => Event::DependenciesReady,
            State::Errored => Event::DependenciesFailed("errored".to_owned()),
            _ => return,
        };
        world.targets[1].waits = false;
        self.step(world, 1, event);
    }
}

impl crate::world::Target {
    fn carries(&self) -> bool {
        self.phase == Phase::Awake || self.somewhere
    }

    fn forget(&mut self, less: u64) {
        for (_, generation, _) in &mut self.to_plane {
            *generation = generation.saturating_sub(less).max(GENERATION - 5);
        }
        for event in &mut self.to_control {
            if let Event::Fenced(_, generation, _) = event {
                *generation = generation.saturating_sub(less).max(GENERATION - 5);
            }
        }
        if let Some(call) = &mut self.call {
            call.id = autostop::machine::CallId(2);
        }
    }
}

fn idle() -> autostop::idle::Report {
    autostop::idle::Report { idle: TICK * MOST_IDLE as u32, ..Default::default() }
}

fn tell(world: &mut World, at: usize) {
    let target = &mut world.targets[at];
    if world.attached {
        let state = target.machine.target_state("rule", NOW, None);
        target.to_plane.push((state.phase(), state.generation, !state.addresses.is_empty()));
    }
}
