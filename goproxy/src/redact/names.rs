//! Pure. Names whose values are secrets.

/// From this length on, a name stands for every name that ends in it.
const SUFFIX_LENGTH: usize = 5;
/// A longer name than this is nobody's.
const LONGEST: usize = 128;

/// A set of names, compared without regard to case, `_` and `-`; one of five letters or more also stands
/// for every name that ends in it: `password` for `new_password` and `dbPassword`.
#[derive(Clone, Debug)]
pub struct Names {
    /// Folded and backwards, sorted: those that end in the same byte stand together.
    names: Vec<Vec<u8>>,
    /// Which bytes they end in, two of them if they have two: most names that are asked for end in others.
    ends: Ends,
}

/// Pairs of letters, the last one first, by five bits of each, which tell letters apart.
#[derive(Clone, Debug)]
struct Ends([u32; 32]);

impl Ends {
    fn of(names: &[Vec<u8>]) -> Self {
        let mut ends = Self([0; 32]);
        for name in names {
            let Some((last, before)) = name.split_first() else { continue };
            if let Some(row) = ends.0.get_mut(usize::from(*last & 31)) {
                *row |= before.first().map_or(u32::MAX, |before| 1 << (before & 31));
            }
        }
        ends
    }

    fn may_end(&self, last: u8, before: u8) -> bool {
        self.0.get(usize::from(last & 31)).is_some_and(|row| row & (1 << (before & 31)) != 0)
    }
}

impl Names {
    /// These names.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let fold = |name: &str| name.bytes().rev().filter_map(fold).collect::<Vec<_>>();
        let mut names: Vec<_> = names.into_iter().map(fold).filter(|name| !name.is_empty()).collect();
        names.sort_unstable();
        let ends = Ends::of(&names);
        Self { names, ends }
    }

    /// Whether this is one of them.
    pub fn contains(&self, name: &[u8]) -> bool {
        let mut backwards = name.iter().rev().copied().filter_map(fold);
        let Some(end) = backwards.next() else { return false };
        if name.len() > LONGEST || !self.ends.may_end(end, backwards.next().unwrap_or_default()) {
            return false;
        }
        let first = self.names.partition_point(|known| known.first() < Some(&end));
        let mut same_end = self.names.iter().skip(first).take_while(|known| known.first() == Some(&end));
        same_end.any(|known| {
            let mut told = name.iter().rev().copied().filter_map(fold);
            let ends_in_it = known.iter().all(|byte| told.next() == Some(*byte));
            ends_in_it && (known.len() >= SUFFIX_LENGTH || told.next().is_none())
        })
    }
}

fn fold(byte: u8) -> Option<u8> {
    (!matches!(byte, b'_' | b'-')).then_some(byte.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_is_found_as_by_who_compares_each(
            known in prop::collection::vec("[abK1_-]{1,7}", 0..6),
            told in "[aAbBkq1Q_-]{0,9}",
        ) {
            let folded = |name: &str| name.bytes().filter_map(fold).collect::<Vec<_>>();
            let name = folded(&told);
            let is = |known: &Vec<u8>| *known == name || known.len() >= SUFFIX_LENGTH && name.ends_with(known);
            let expected = known.iter().map(|known| folded(known)).any(|known| !known.is_empty() && is(&known));
            let names = Names::new(known.iter().map(String::as_str));
            prop_assert_eq!(names.contains(told.as_bytes()), expected);
        }
    }
}
