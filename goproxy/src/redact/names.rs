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
    /// Which bytes they end in: most names that are asked for end in another.
    ends: [bool; 256],
}

impl Names {
    /// These names.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let fold = |name: &str| name.bytes().rev().filter_map(fold).collect::<Vec<_>>();
        let mut names: Vec<_> = names.into_iter().map(fold).filter(|name| !name.is_empty()).collect();
        names.sort_unstable();
        let mut ends = [false; 256];
        for end in names.iter().filter_map(|name| name.first()) {
            if let Some(place) = ends.get_mut(usize::from(*end)) {
                *place = true;
            }
        }
        Self { names, ends }
    }

    /// Whether this is one of them.
    pub fn contains(&self, name: &[u8]) -> bool {
        let Some(end) = name.iter().rev().copied().find_map(fold) else { return false };
        if name.len() > LONGEST || self.ends.get(usize::from(end)) != Some(&true) {
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
