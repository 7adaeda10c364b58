//! At most one order is under way for one id; who gives the same order again joins it.

use std::sync::{Arc, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::Shared;
use crate::provider::{Error, Fault, Stop, Target};

/// What is to be done with a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Start,
    Stop(Stop),
}

impl Order {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop(_) => "stop",
        }
    }
}

/// The orders that are under way. There are few.
#[derive(Default)]
pub(super) struct Flights {
    under_way: Vec<Flight>,
}

struct Flight {
    order: Order,
    target: Arc<Target>,
    answer: watch::Receiver<Option<Result<(), Error>>>,
}

/// Takes an order off the list however its call ends, with a panic too.
struct Landing {
    shared: Arc<Shared>,
    target: Arc<Target>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        flights(&self.shared).under_way.retain(|flight| !Arc::ptr_eq(&flight.target, &self.target));
    }
}

fn flights(shared: &Shared) -> MutexGuard<'_, Flights> {
    shared.flights.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives the order, or joins the one that is under way. It goes on when this future is dropped.
pub(super) async fn join(shared: &Arc<Shared>, order: Order, target: &Target) -> Result<(), Error> {
    let mut answer = take_off(shared, order, target)?;
    let answered = answer.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone());
    answered.unwrap_or_else(|| Err(Fault::Interrupted.said("the call did not come to its end")))
}

fn take_off(
    shared: &Arc<Shared>,
    order: Order,
    target: &Target,
) -> Result<watch::Receiver<Option<Result<(), Error>>>, Error> {
    let mut flights = flights(shared);
    let meets = |flight: &&Flight| {
        flight.target.kind == target.kind && target.ids.iter().any(|id| flight.target.ids.contains(id))
    };
    if let Some(flight) = flights.under_way.iter().find(meets) {
        if flight.order == order && *flight.target == *target {
            return Ok(flight.answer.clone());
        }
        return Err(Fault::Busy.said("another order is under way"));
    }
    let (tell, answer) = watch::channel(None);
    let target = Arc::new(target.clone());
    flights.under_way.push(Flight { order, target: Arc::clone(&target), answer: answer.clone() });
    drop(flights);
    let landing = Landing { shared: Arc::clone(shared), target };
    shared.drain.spawn(async move {
        let (shared, target) = (&landing.shared, &landing.target);
        let deadline = shared.deadline();
        let call = || match order {
            Order::Start => shared.provider.start(target, deadline),
            Order::Stop(how) => shared.provider.stop(target, how, deadline),
        };
        let answer = shared.call(order.name(), deadline, call).await;
        // Off the list first: who heard the answer may give the next order at once.
        drop(landing);
        tell.send_replace(Some(answer));
    });
    Ok(answer)
}
