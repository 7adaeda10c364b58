//! Pure. Who of the threads that relay carries a connection: the one that accepted it, unless it has too many.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The threads, and how many connections each carries.
#[derive(Debug)]
pub struct Crew {
    carried: Box<[AtomicUsize]>,
}

/// A connection that a thread carries, until it is dropped.
#[derive(Debug)]
pub struct Load {
    crew: Arc<Crew>,
    thread: usize,
}

impl Crew {
    /// So many threads, without a connection.
    pub fn new(threads: usize) -> Arc<Self> {
        Arc::new(Self { carried: (0..threads).map(|_| AtomicUsize::default()).collect() })
    }

    /// Gives a connection that this thread accepted to one that carries it: to itself, since to hand it over costs
    /// something, unless it has an eighth more of them than the one with the fewest.
    pub fn give(self: &Arc<Self>, accepted_by: usize) -> Load {
        let carried = |thread: &AtomicUsize| thread.load(Ordering::Relaxed);
        let own = self.carried.get(accepted_by).map_or(0, carried);
        let least = self.carried.iter().map(carried).enumerate().min_by_key(|(_, carried)| *carried);
        let thread = match least {
            Some((least, fewest)) if own > fewest + own / 8 => least,
            _ => accepted_by,
        };
        if let Some(carried) = self.carried.get(thread) {
            carried.fetch_add(1, Ordering::Relaxed);
        }
        Load { crew: Arc::clone(self), thread }
    }
}

impl Load {
    /// Which thread it is.
    pub fn thread(&self) -> usize {
        self.thread
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(carried) = self.crew.carried.get(self.thread) {
            carried.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_accepts_all_of_them_shares_them_with_the_others() {
        let crew = Crew::new(3);
        let loads: Vec<_> = (0..300).map(|_| crew.give(1)).collect();
        let of = |thread| loads.iter().filter(|load| load.thread() == thread).count();
        assert!((100..=114).contains(&of(1)), "{}", of(1));
        assert!([of(0), of(2)].iter().all(|carried| (93..=100).contains(carried)), "{crew:?}");
    }

    #[test]
    fn a_connection_stays_where_it_was_accepted_while_others_have_about_as_many() {
        let crew = Crew::new(2);
        let even: Vec<_> = (0..64).map(|at| crew.give(at % 2)).collect();
        assert!(even.iter().enumerate().all(|(at, load)| load.thread() == at % 2));
        let more: Vec<_> = (0..5).map(|_| crew.give(0)).collect();
        assert!(more.iter().all(|load| load.thread() == 0));
        assert_eq!(crew.give(0).thread(), 1);
        drop(even);
        drop(more);
        assert!(crew.carried.iter().all(|carried| carried.load(Ordering::Relaxed) == 0));
        assert_eq!(crew.give(0).thread(), 0);
    }
}
