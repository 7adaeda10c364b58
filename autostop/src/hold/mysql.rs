//! Pure. MySQL: the first packet of a server may be an ERR packet, which clients show as it is.

use super::Notice;

/// `ER_SERVER_OFFLINE_MODE`.
const CODE: u16 = 3032;

/// An ERR packet in place of the greeting. Before capabilities are agreed on it has no SQLSTATE
/// (MySQL, "ERR_Packet").
pub fn error(notice: &Notice) -> Vec<u8> {
    let message = format!("autostop: {}", notice.sentence());
    let length = u32::try_from(message.len() + 3).unwrap_or(u32::MAX);
    let [a, b, c, _] = length.to_le_bytes();
    let [low, high] = CODE.to_le_bytes();
    [&[a, b, c, 0, 0xff, low, high], message.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hold::starting;

    #[test]
    fn its_length_is_that_of_what_follows() {
        let packet = error(&starting(None));
        assert_eq!(packet, b"\x22\0\0\0\xff\xd8\x0bautostop: build-box is starting".as_slice());
        assert_eq!(usize::from(packet[0]), packet.len() - 4);
    }
}
