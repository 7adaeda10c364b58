//! Pure. MAC addresses and the magic packet: six times 255, then the address sixteen times.

/// The six bytes of a MAC address, with colons, dashes or nothing between.
pub fn mac(told: &str) -> Option<[u8; 6]> {
    let separator = told.chars().nth(2).filter(|char| matches!(char, ':' | '-'));
    let digits = match separator {
        Some(separator) if told.split(separator).count() == 6 => {
            told.split(separator).filter(|byte| byte.len() == 2).collect::<String>()
        }
        Some(_) => return None,
        None => told.to_owned(),
    };
    if digits.len() != 12 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let number = u64::from_str_radix(&digits, 16).ok()?.to_be_bytes();
    number.get(2..)?.try_into().ok()
}

/// The packet that wakes the network card of this address.
pub(super) fn magic(mac: [u8; 6]) -> Vec<u8> {
    [[255; 6]].into_iter().chain(std::iter::repeat_n(mac, 16)).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_is_six_bytes_in_any_usual_spelling() {
        let check = |told: &str, expected: Option<[u8; 6]>| assert_eq!(mac(told), expected, "{told}");
        let six = Some([0x52, 0x54, 0, 0x12, 0xab, 0xcd]);
        check("52:54:00:12:ab:cd", six);
        check("52-54-00-12-AB-CD", six);
        check("52540012abcd", six);
        for bad in ["", "52:54:00:12:ab", "52:54:00:12:ab:cd:ef", "52:54-00:12:ab:cd", "525400:12abcd"] {
            check(bad, None);
        }
        for bad in ["+2540012abcd", "52:540:0:12:ab:cd", "5254001234zz", "52:54:00:12:ab:é"] {
            check(bad, None);
        }
    }

    #[test]
    fn the_packet_has_six_full_bytes_and_sixteen_times_the_address() {
        let packet = magic([1, 2, 3, 4, 5, 6]);
        assert_eq!(packet.len(), 102);
        assert_eq!(packet[..6], [255; 6]);
        assert_eq!(packet[6..].to_vec(), [1, 2, 3, 4, 5, 6].repeat(16));
    }
}
