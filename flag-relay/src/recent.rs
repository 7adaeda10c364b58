//! Pure. What was heard of lately, and not more of it than there is room for.

use std::{borrow::Borrow, collections::HashMap, hash::Hash};

/// A map that forgets what was put into it longest ago, by halves.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    /// Room for so many.
    pub(crate) fn new(room: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half: (room / 2).max(1) }
    }

    /// Puts this in, in place of what was there under this name.
    pub(crate) fn put(&mut self, key: K, value: V) {
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    /// What was put in last under this name, unless it was forgotten.
    pub(crate) fn find<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.young.get(key).or_else(|| self.old.get(key))
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;

    #[test]
    fn it_forgets_the_oldest_and_never_the_newest() {
        let mut recent = Recent::new(10);
        for number in 0..100 {
            recent.put(number, number);
            assert_eq!(recent.find(&number), Some(&number));
            assert!(recent.young.len() + recent.old.len() <= 10);
        }
        assert_eq!(recent.find(&0), None);
        assert_eq!(recent.find(&96), Some(&96));
        recent.put(99, 1);
        assert_eq!(recent.find(&99), Some(&1));
    }
}
