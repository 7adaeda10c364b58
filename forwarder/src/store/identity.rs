//! Pure. The UUID of an exchange: worked out from where it comes from, the same however often it is sent.

/// A UUID of version 8 (RFC 9562 §5.8): 60 bits of the run it comes from, then its sequence.
///
/// Neighbors differ in the last digits only, so that the column costs next to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub u128);

/// The part of a UUID that all exchanges of one run of a proxy share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run(u64);

impl Run {
    /// The run `epoch` of the proxy.
    pub fn new(proxy: &str, epoch: u64) -> Self {
        // FNV-1a, finished as SplitMix64: fixed for good, because its values stand in files and in links.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in proxy.bytes().chain([0xff]).chain(epoch.to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self(hash ^ (hash >> 31))
    }

    /// The UUID of one of its exchanges.
    pub fn uuid(self, sequence: u64) -> Uuid {
        let run = u128::from(self.0 & 0x0fff_ffff_ffff_ffff);
        let high = (run >> 12) << 80 | 0x8 << 76 | (run & 0xfff) << 64;
        let low = 0x8000_0000_0000_0000_u64 | (sequence & 0x3fff_ffff_ffff_ffff);
        Uuid(high | u128::from(low))
    }
}

impl Uuid {
    /// Reads the usual form, 32 hexadecimal digits with or without hyphens.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|character| *character != '-').collect();
        let hexadecimal = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        hexadecimal.then(|| u128::from_str_radix(&digits, 16).ok()).flatten().map(Self)
    }

    /// Its bytes in network order.
    pub fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Writes the usual form over `text`, which is then exactly that.
    pub fn write(self, text: &mut [u8; 36]) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let nibbles = (0..32).map(|place| DIGITS.get((self.0 >> (124 - 4 * place)) as usize & 15));
        let places = text.iter_mut().enumerate().filter(|(at, _)| !matches!(at, 8 | 13 | 18 | 23));
        for ((_, place), digit) in places.zip(nibbles) {
            *place = digit.copied().unwrap_or(b'0');
        }
        for (at, place) in text.iter_mut().enumerate() {
            if matches!(at, 8 | 13 | 18 | 23) {
                *place = b'-';
            }
        }
    }
}

impl std::fmt::Display for Uuid {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = [0; 36];
        self.write(&mut text);
        formatter.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_fixed_for_good_and_reads_back() {
        let uuid = Run::new("ip-192-168-3-149", 7).uuid(42);
        assert_eq!(uuid.to_string(), "4b97590f-0fa1-8104-8000-00000000002a");
        assert_eq!(Uuid::parse(&uuid.to_string()), Some(uuid));
        assert_eq!(Uuid::parse("7e2dee3c"), None);
        assert_eq!(Uuid::parse(&"g".repeat(32)), None);
    }

    #[test]
    fn neighbors_differ_in_the_sequence_only() {
        let run = Run::new("a", 1);
        assert_eq!(run.uuid(2).0 - run.uuid(1).0, 1);
        assert_ne!(Run::new("a", 2).uuid(1), run.uuid(1));
        assert_ne!(Run::new("b", 1).uuid(1), run.uuid(1));
    }
}
