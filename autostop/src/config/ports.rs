//! Pure. A range of ports.

use std::{fmt, ops::RangeInclusive, str::FromStr};

/// Ports from a first to a last, both of them included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    first: u16,
    last: u16,
}

impl Ports {
    /// All of them, in order.
    pub fn iter(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }

    /// Whether this is one of them.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl FromStr for Ports {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| text.trim().parse::<u16>().map_err(drop);
        let ports = Self { first: port(first)?, last: port(last)? };
        if ports.first == 0 || ports.first > ports.last { Err(()) } else { Ok(ports) }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_goes_upwards_and_has_both_ends() {
        let check = |text: &str, expected: Option<(u16, u16)>| {
            let ports = text.parse::<Ports>().ok().map(|ports| (ports.first, ports.last));
            assert_eq!(ports, expected, "{text}");
        };
        check("56000-56999", Some((56000, 56999)));
        check("7 - 9", Some((7, 9)));
        check("80", Some((80, 80)));
        check("9-7", None);
        check("0-7", None);
        check("1-65536", None);
        check("", None);
        let ports: Ports = "7-9".parse().unwrap();
        assert_eq!(ports.iter().collect::<Vec<_>>(), [7, 8, 9]);
        assert!(ports.contains(9) && !ports.contains(10));
        assert_eq!(ports.to_string(), "7-9");
    }
}
