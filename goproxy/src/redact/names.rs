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
    ends: Ends,
}

/// Which three bytes the names end in, the last one first: most names that are asked for end in others. The first table
/// has a row for the last byte and in it a bit for each byte before it, the second one has the same for the next two.
#[derive(Clone, Debug)]
struct Ends([[u32; CLASSES]; 2]);

const CLASSES: usize = 32;
/// The class of what does not count in a name.
const SKIPPED: u8 = 31;

/// Letters have a class each, whatever their case; what else counts shares one.
const fn class(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' => byte - b'a' + 1,
        b'A'..=b'Z' => byte - b'A' + 1,
        b'_' | b'-' => SKIPPED,
        _ => 0,
    }
}

impl Ends {
    fn of(names: &[Vec<u8>]) -> Self {
        let mut ends = Self([[0; CLASSES]; 2]);
        for name in names {
            for (at, table) in ends.0.iter_mut().enumerate() {
                // What may stand before a name that is no longer is anything.
                let before = name.get(at + 1).map_or(u32::MAX, |before| 1 << class(*before));
                match name.get(at).map(|byte| table.get_mut(usize::from(class(*byte)))) {
                    Some(row) => row.into_iter().for_each(|row| *row |= before),
                    None => table.fill(u32::MAX),
                }
            }
        }
        ends
    }

    /// Whether one of them may end in these, of which the last comes first; 0 is where there is none.
    fn may_be(&self, end: [u8; 3]) -> bool {
        let classes = end.map(class);
        let [last, before, third] = classes;
        let [first, second] = &self.0;
        let has = |table: &[u32; CLASSES], class: u8, before: u8| {
            table.get(usize::from(class)).is_some_and(|row| row & (1 << before) != 0)
        };
        classes.contains(&SKIPPED) || has(first, last, before) && has(second, before, third)
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

    /// Whether one of them may stand at the end of this; a quick look.
    pub fn may_end(&self, bytes: &[u8]) -> bool {
        self.ends.may_be(match bytes {
            [.., third, before, last] => [*last, *before, *third],
            [before, last] => [*last, *before, 0],
            _ => [bytes.first().copied().unwrap_or_default(), 0, 0],
        })
    }

    /// Whether this is one of them.
    pub fn contains(&self, name: &[u8]) -> bool {
        if !self.may_end(name) {
            return false;
        }
        let told = || name.iter().rev().copied().filter_map(fold);
        let Some(end) = told().next().filter(|_| name.len() <= LONGEST) else { return false };
        let first = self.names.partition_point(|known| known.first() < Some(&end));
        let mut same_end = self.names.iter().skip(first).take_while(|known| known.first() == Some(&end));
        same_end.any(|known| {
            let mut told = told();
            let ends_in_it = known.iter().all(|byte| told.next() == Some(*byte));
            ends_in_it && (known.len() >= SUFFIX_LENGTH || told.next().is_none())
        })
    }
}

fn fold(byte: u8) -> Option<u8> {
    (class(byte) != SKIPPED).then_some(byte.to_ascii_lowercase())
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
            before in "[aAbBkq1Q_-]{0,3}",
            one in any::<prop::sample::Index>(),
            separators in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
            is_near in any::<bool>(),
        ) {
            // What is near to a known name, or is one: with another case, and what does not count anywhere in it.
            let near = || {
                let mut near = before + &one.get(&known).to_lowercase();
                separators.iter().for_each(|at| near.insert(at.index(near.len() + 1), '_'));
                near
            };
            let told = if is_near && !known.is_empty() { near() } else { told };
            let folded = |name: &str| name.bytes().filter_map(fold).collect::<Vec<_>>();
            let name = folded(&told);
            let is = |known: &Vec<u8>| *known == name || known.len() >= SUFFIX_LENGTH && name.ends_with(known);
            let expected = known.iter().map(|known| folded(known)).any(|known| !known.is_empty() && is(&known));
            let names = Names::new(known.iter().map(String::as_str));
            prop_assert_eq!(names.contains(told.as_bytes()), expected);
        }
    }
}
