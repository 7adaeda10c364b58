//! Pure. PostgreSQL: what a server that is starting up says, SQLSTATE 57P03 (`cannot_connect_now`).

use super::Notice;

/// How much of what a client says first has to be seen.
pub const OPENING: usize = 8;

/// What a client that has said this wants to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// More has to be seen.
    Unknown,
    /// It asked for encryption, with so many bytes: `N`, and then it begins in clear.
    NoEncryption(usize),
    /// It began: the error can be told.
    Error,
    /// It does not speak PostgreSQL in clear, and could not read an error.
    Nothing,
}

/// Looks at what a client said first (PostgreSQL, "Message Formats": SSLRequest, GSSENCRequest,
/// StartupMessage, CancelRequest).
pub fn answer(said: &[u8]) -> Answer {
    let Some((length, rest)) = said.split_first_chunk() else { return Answer::Unknown };
    let Some((code, _)) = rest.split_first_chunk() else { return Answer::Unknown };
    match (u32::from_be_bytes(*length), u32::from_be_bytes(*code)) {
        (8, 80_877_103 | 80_877_104) => Answer::NoEncryption(8),
        (9..=10_000, 0x0003_0000..=0x0003_ffff) => Answer::Error,
        _ => Answer::Nothing,
    }
}

/// What a client says that only wants to hear whether sessions are taken: a StartupMessage of protocol 3.0.
pub fn greeting() -> Vec<u8> {
    let parameters = b"user\0autostop\0database\0postgres\0\0";
    let length = u32::try_from(parameters.len() + 8).unwrap_or_default();
    [&length.to_be_bytes()[..], &0x0003_0000_u32.to_be_bytes(), parameters].concat()
}

/// Whether a server that was greeted so says that it takes none yet.
pub fn is_starting_up(said: &[u8]) -> bool {
    said.first() == Some(&b'E') && memchr::memmem::find(said, b"C57P03\0").is_some()
}

/// A fatal ErrorResponse.
pub fn error(notice: &Notice) -> Vec<u8> {
    let message = format!("autostop: {}", notice.sentence());
    let mut fields = Vec::new();
    for (kind, value) in [(b'S', "FATAL"), (b'V', "FATAL"), (b'C', "57P03"), (b'M', &message)] {
        fields.push(kind);
        fields.extend(value.bytes());
        fields.push(0);
    }
    fields.push(0);
    let length = u32::try_from(fields.len() + 4).unwrap_or(u32::MAX);
    [&b"E"[..], &length.to_be_bytes(), &fields].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hold::starting;

    #[test]
    fn a_client_is_answered_as_far_as_it_has_come() {
        for (said, expected) in [
            (&b""[..], Answer::Unknown),
            (b"\0\0\0\x08\x04\xd2\x16", Answer::Unknown),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", Answer::NoEncryption(8)),
            (b"\0\0\0\x08\x04\xd2\x16\x30", Answer::NoEncryption(8)),
            (b"\0\0\0\x0f\0\x03\0\0user\0x\0", Answer::Error),
            (b"\0\0\0\x0f\0\x03\0\x02user\0x\0", Answer::Error),
            (b"\x16\x03\x01\x02\0\x01\0\x01", Answer::Nothing),
            (b"GET / HTTP/1.1\r\n", Answer::Nothing),
        ] {
            assert_eq!(answer(said), expected, "{said:?}");
        }
    }

    #[test]
    fn the_error_says_that_the_server_is_starting_up() {
        let error = error(&starting(None));
        assert_eq!(
            error,
            b"E\0\0\0\x3bSFATAL\0VFATAL\0C57P03\0Mautostop: build-box is starting\0\0".as_slice()
        );
        assert_eq!(u32::from_be_bytes(error[1..5].try_into().unwrap()) as usize, error.len() - 1);
    }

    proptest! {
        #[test]
        fn nothing_panics(said in prop::collection::vec(any::<u8>(), 0..20)) {
            answer(&said);
        }
    }
}
