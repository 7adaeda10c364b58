//! Pure. Secrets that are known by their look, wherever they stand.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, Input, Match, Span, packed};
use memchr::memmem;

use super::{Category, Spot};

/// What such a secret begins with; the first two are followed in ways of their own.
const STARTS: [&str; 14] = [
    "eyJ",
    "-----BEGIN",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "sk_live_",
    "rk_live_",
    "AIza",
    "npm_",
];
/// An issuer's token is at least so long behind its prefix.
const SHORTEST_KEY: usize = 16;

/// None of them begins another or stands in it.
static FINDER: LazyLock<Finder> = LazyLock::new(Finder::new);

/// Looks for many bytes at a time where the processor can.
enum Finder {
    Packed(packed::Searcher),
    Automaton(Option<AhoCorasick>),
}

impl Finder {
    fn new() -> Self {
        match packed::Searcher::new(STARTS) {
            Some(packed) => Self::Packed(packed),
            None => Self::automaton(),
        }
    }

    fn automaton() -> Self {
        Self::Automaton(AhoCorasick::new(STARTS).ok())
    }

    fn next(&self, bytes: &[u8], from: usize) -> Option<Match> {
        match self {
            Self::Packed(packed) => packed.find_in(bytes, Span::from(from..bytes.len())),
            Self::Automaton(automaton) => automaton.as_ref()?.find(Input::new(bytes).span(from..bytes.len())),
        }
    }
}

/// Finds them.
pub fn find(bytes: &[u8], spots: &mut Vec<Spot>) {
    let mut done = 0;
    while let Some(found) = FINDER.next(bytes, done) {
        let spot = match found.pattern().as_usize() {
            0 => jwt(bytes, found.start()),
            1 => private_key(bytes, found.end()),
            _ => issued(bytes, found.start(), found.end()),
        };
        done = found.end();
        if let Some(spot) = spot {
            done = spot.range.end;
            spots.push(spot);
        }
    }
}

fn token_end(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')).count()
}

/// Header, payload and signature, the first two being JSON objects in base64url.
fn jwt(bytes: &[u8], start: usize) -> Option<Spot> {
    let header = token_end(bytes, start);
    bytes.get(header..)?.strip_prefix(b".eyJ")?;
    let payload = token_end(bytes, header + 1);
    let end = match bytes.get(payload) {
        Some(b'.') => token_end(bytes, payload + 1),
        _ => payload,
    };
    Some(Spot { range: start..end, category: Category::Jwt })
}

fn private_key(bytes: &[u8], label: usize) -> Option<Spot> {
    const LINE_END: &[u8] = b"-----";
    let rest = bytes.get(label..)?;
    let line = memmem::find(rest.get(..rest.len().min(64))?, LINE_END)?;
    if !rest.get(..line)?.ends_with(b"PRIVATE KEY") {
        return None;
    }
    let start = label + line + LINE_END.len();
    let inside = bytes.get(start..)?;
    let end = start + memmem::find(inside, b"-----END").unwrap_or(inside.len());
    (end > start).then_some(Spot { range: start..end, category: Category::PrivateKey })
}

fn issued(bytes: &[u8], start: usize, behind: usize) -> Option<Spot> {
    let inside_a_word =
        start.checked_sub(1).and_then(|at| bytes.get(at)).is_some_and(|byte| byte.is_ascii_alphanumeric());
    let end = token_end(bytes, behind);
    let long_enough = end - behind >= SHORTEST_KEY;
    (long_enough && !inside_a_word).then_some(Spot { range: start..end, category: Category::ApiKey })
}

/// Finds payment card numbers: by prefix and length of the large schemes, and the Luhn check digit.
///
/// A number covers so many bytes that one of them is seen by who looks at every thirteenth.
pub fn find_cards(bytes: &[u8], spots: &mut Vec<Spot>) {
    let mut at = FEWEST_DIGITS - 1;
    while let Some(byte) = bytes.get(at) {
        let start = if is_of_a_number(*byte) { run_start(bytes, at) } else { None };
        let Some(start) = start else {
            at += FEWEST_DIGITS;
            continue;
        };
        let before = start.checked_sub(1).and_then(|at| bytes.get(at));
        let mut run = [0; MOST_DIGITS];
        let (count, end) = digits(bytes, start, &mut run);
        let digits = run.get(..count).unwrap_or_default();
        let stands_alone =
            before.is_none_or(|byte| !matches!(byte, b'.' | b'_') && !byte.is_ascii_alphabetic());
        if stands_alone && is_card(digits) {
            spots.push(Spot { range: start..end, category: Category::Card });
        }
        at = end + FEWEST_DIGITS;
    }
}

fn is_of_a_number(byte: u8) -> bool {
    byte.is_ascii_digit() || is_separator(byte)
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'-')
}

/// The first digit of the run that this byte is in or ends, if there is one.
fn run_start(bytes: &[u8], at: usize) -> Option<usize> {
    let mut start = None;
    let mut gap = false;
    for (place, byte) in bytes.get(..=at)?.iter().enumerate().rev() {
        match *byte {
            b'0'..=b'9' => (start, gap) = (Some(place), false),
            byte if is_separator(byte) && !gap => gap = true,
            _ => break,
        }
    }
    start
}

/// No card number is shorter.
const FEWEST_DIGITS: usize = 13;
/// Longer than any card number; a longer run is none.
const MOST_DIGITS: usize = 20;

/// A run of digits, with single spaces or hyphens between them: how many of them are kept, and where it ends.
fn digits(bytes: &[u8], start: usize, run: &mut [u8; MOST_DIGITS]) -> (usize, usize) {
    let mut count = 0;
    let mut end = start;
    let mut at = start;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'0'..=b'9' => {
                if let Some(place) = run.get_mut(count) {
                    *place = byte - b'0';
                    count += 1;
                }
                end = at + 1;
            }
            byte if is_separator(byte) && end == at => {}
            _ => break,
        }
        at += 1;
    }
    (count, end)
}

fn is_card(digits: &[u8]) -> bool {
    is_of_a_scheme(digits) && luhn(digits)
}

fn is_of_a_scheme(digits: &[u8]) -> bool {
    let prefix = |length: usize| {
        digits.iter().take(length).fold(0_u32, |number, digit| number * 10 + u32::from(*digit))
    };
    match digits.len() {
        13 | 19 => prefix(1) == 4,
        14 => matches!(prefix(2), 36 | 38 | 39) || (300..=305).contains(&prefix(3)),
        15 => matches!(prefix(2), 34 | 37),
        16 => {
            prefix(1) == 4
                || (51..=55).contains(&prefix(2))
                || (2221..=2720).contains(&prefix(4))
                || prefix(4) == 6011
                || prefix(2) == 65
                || (3528..=3589).contains(&prefix(4))
        }
        _ => false,
    }
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(*digit) * 2) {
            (0, _) => u32::from(*digit),
            (_, doubled) if doubled > 9 => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every run of digits from left to right.
    fn all_cards(bytes: &[u8]) -> Vec<Spot> {
        let mut spots = Vec::new();
        let mut at = 0;
        while let Some(distance) = bytes[at..].iter().position(u8::is_ascii_digit) {
            let start = at + distance;
            let mut run = [0; MOST_DIGITS];
            let (count, end) = digits(bytes, start, &mut run);
            let inside_a_word = start > 0
                && (matches!(bytes[start - 1], b'.' | b'_') || bytes[start - 1].is_ascii_alphabetic());
            if !inside_a_word && is_card(&run[..count]) {
                spots.push(Spot { range: start..end, category: Category::Card });
            }
            at = end;
        }
        spots
    }

    #[test]
    fn where_the_processor_cannot_the_same_is_found() {
        let packed = Finder::new();
        assert!(matches!(packed, Finder::Packed(_)), "nothing to compare with");
        for (pattern, start) in STARTS.iter().enumerate() {
            for before in 0..70 {
                let text = format!("{}{start}{}", "-ey_".repeat(before), "x".repeat(before));
                for finder in [&packed, &Finder::automaton()] {
                    let found = finder.next(text.as_bytes(), before).unwrap();
                    assert_eq!((found.pattern().as_usize(), found.start()), (pattern, 4 * before), "{text}");
                }
            }
        }
    }

    #[test]
    fn the_shortest_card_is_found_at_every_place() {
        for before in 0..40 {
            let text = ",".repeat(before) + "4222222222222";
            let mut spots = Vec::new();
            find_cards(text.as_bytes(), &mut spots);
            assert_eq!(spots, [Spot { range: before..text.len(), category: Category::Card }]);
        }
    }

    proptest! {
        #[test]
        fn cards_are_found_as_by_who_looks_at_every_byte(parts in prop::collection::vec(
            prop_oneof![
                "[0-9]{1,24}", "[ -]{1,3}", "[a-z._,:]{0,14}",
                "4111 1111 1111 1111", "378282246310005", "5500-0000-0000-0004", "4222222222222",
            ],
            0..12,
        )) {
            let text = parts.concat();
            let mut spots = Vec::new();
            find_cards(text.as_bytes(), &mut spots);
            prop_assert_eq!(spots, all_cards(text.as_bytes()));
        }
    }
}
