//! Pure. Names whose values are secrets.

/// From this length on, a name stands for every name that ends in it.
const SUFFIX_LENGTH: usize = 5;
/// A longer name than this is nobody's.
const LONGEST: usize = 128;

/// A set of names, compared without regard to case, `_` and `-`; one of five letters or more also stands
/// for every name that ends in it: `password` for `new_password` and `dbPassword`.
#[derive(Clone, Debug, Default)]
pub struct Names(Vec<Vec<u8>>);

impl Names {
    /// These names.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let fold = |name: &str| name.bytes().filter_map(fold).collect::<Vec<_>>();
        Self(names.into_iter().map(fold).filter(|name| !name.is_empty()).collect())
    }

    /// Whether this is one of them.
    pub fn contains(&self, name: &[u8]) -> bool {
        if name.is_empty() || name.len() > LONGEST {
            return false;
        }
        self.0.iter().any(|known| {
            let mut told = name.iter().rev().copied().filter_map(fold);
            let ends_in_it = known.iter().rev().all(|byte| told.next() == Some(*byte));
            ends_in_it && (known.len() >= SUFFIX_LENGTH || told.next().is_none())
        })
    }
}

fn fold(byte: u8) -> Option<u8> {
    (!matches!(byte, b'_' | b'-')).then_some(byte.to_ascii_lowercase())
}
