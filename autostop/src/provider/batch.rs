//! Calls a provider as it wants to be called: within a budget, never twice at once, many questions as one.

mod flight;
mod gather;
mod tally;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use common::{backoff::Backoff, drain::Drain};
use tokio::time::{self, Instant};

pub use self::tally::Count;
use self::{
    flight::{Flights, Order},
    gather::{Gather, Question},
    tally::Tally,
};
use super::{
    Error, Fault, Provider, Secrets, Sightings, Stop, Target,
    bucket::Bucket,
    options::{Calls, Options},
};

/// The first wait after a call was throttled, and the longest.
const THROTTLED_WAITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(20));

/// A handle on one provider, for everybody who calls it. No call through it outlives its timeout, and none is lost
/// when its caller goes away.
#[derive(Clone)]
pub struct Caller {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    provider: Box<dyn Provider>,
    calls: Calls,
    bucket: Mutex<Bucket>,
    tally: Mutex<Tally>,
    flights: Mutex<Flights>,
    gather: Gather,
    drain: Drain,
}

impl Caller {
    /// The provider of this name, as it was configured. Nothing is connected or started yet.
    pub fn new(name: &str, options: &Options, drain: &Drain) -> Self {
        Self::over(name, super::build(name, &options.kind, drain), options.calls.clone(), drain)
    }

    /// Over any provider.
    pub fn over(name: &str, provider: Box<dyn Provider>, calls: Calls, drain: &Drain) -> Self {
        let bucket = Mutex::new(Bucket::new(calls.calls_per_minute, calls.burst));
        Self {
            shared: Arc::new(Shared {
                name: name.to_owned(),
                provider,
                calls,
                bucket,
                tally: Mutex::default(),
                flights: Mutex::default(),
                gather: Gather::default(),
                drain: drain.clone(),
            }),
        }
    }

    /// The provider's name in the configuration.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// What became of its calls so far.
    pub fn counts(&self) -> Vec<Count> {
        self.shared.tally.lock().unwrap_or_else(PoisonError::into_inner).counts()
    }

    /// Lines of a plug-in that were no answers, or came too late, and were dropped.
    pub fn dropped_lines(&self) -> u64 {
        self.shared.provider.dropped_lines()
    }

    /// Starts a target. Who asks while that is under way joins, and gets the same answer.
    ///
    /// # Errors
    /// [`Fault::Busy`] while another order is under way for any of its ids, and whatever the provider says.
    pub async fn start(&self, target: &Target) -> Result<(), Error> {
        self.order(Order::Start, target).await
    }

    /// Stops a target. Who asks while that is under way joins, and gets the same answer.
    ///
    /// # Errors
    /// [`Fault::Busy`] while another order is under way for any of its ids, and whatever the provider says.
    pub async fn stop(&self, target: &Target, how: Stop) -> Result<(), Error> {
        self.order(Order::Stop(how), target).await
    }

    /// How each id of a target is; an answer is there for every one of them. Goes together with the questions of
    /// others of the same kind and parameters.
    ///
    /// # Errors
    /// Whatever the provider says.
    pub async fn status(&self, target: &Target) -> Result<Sightings, Error> {
        gather::ask(&self.shared, Question::Status, target).await
    }

    /// As `status`, with all addresses.
    ///
    /// # Errors
    /// Whatever the provider says.
    pub async fn describe(&self, target: &Target) -> Result<Sightings, Error> {
        gather::ask(&self.shared, Question::Describe, target).await
    }

    /// What these secrets of the provider's store say; an answer is there for every one of them.
    ///
    /// # Errors
    /// Whatever the provider says of all of them together.
    pub async fn secrets(&self, ids: &[String]) -> Result<Secrets, Error> {
        let (shared, deadline) = (&self.shared, self.shared.deadline());
        shared.call("secret", deadline, || shared.provider.secrets(ids, deadline)).await
    }

    async fn order(&self, order: Order, target: &Target) -> Result<(), Error> {
        flight::join(&self.shared, order, target).await
    }
}

impl Shared {
    /// One call within the budget and the timeout; tried again while the provider says that there are too many.
    async fn call<T, C: Future<Output = Result<T, Error>>>(
        &self,
        op: &'static str,
        deadline: Instant,
        mut call: impl FnMut() -> C,
    ) -> Result<T, Error> {
        let mut backoff = Backoff::new(THROTTLED_WAITS.0, THROTTLED_WAITS.1);
        loop {
            self.admit(deadline).await?;
            let called = time::timeout_at(deadline, call()).await;
            let called = called.unwrap_or_else(|_| Err(Fault::Timeout.said("")));
            self.tally.lock().unwrap_or_else(PoisonError::into_inner).count(op, &called);
            match called {
                Err(error) => match error.fault {
                    Fault::Throttled { retry_after } => {
                        let wait = backoff.wait(fastrand::f64()).max(retry_after.unwrap_or_default());
                        let until = Instant::now().checked_add(wait).filter(|until| *until < deadline);
                        let Some(until) = until else { return Err(error) };
                        // Whoever else calls this provider has been too fast as well.
                        self.bucket().pause(until);
                        tracing::debug!(provider = self.name, ?wait, "too many calls");
                    }
                    _ => return Err(error),
                },
                done => return done,
            }
        }
    }

    async fn admit(&self, deadline: Instant) -> Result<(), Error> {
        let admitted = self.bucket().take(Instant::now(), deadline);
        let Some(at) = admitted else {
            return Err(Fault::Throttled { retry_after: None }.said("our own budget of calls is spent"));
        };
        time::sleep_until(at).await;
        Ok(())
    }

    fn bucket(&self) -> std::sync::MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.calls.timeout
    }
}

#[cfg(test)]
mod tests;
