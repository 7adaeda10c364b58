//! Pure. Whether a PostgreSQL session is inside a transaction, from what passes: a session that is does
//! not count as idle however long it is silent.
//!
//! The server ends each answer with ReadyForQuery, whose status is `I`, or in a transaction `T` or `E`
//! (PostgreSQL, "Message Formats"). What cannot be followed (TLS, or anything that is not PostgreSQL) is
//! left alone.

use common::relay::Side;

/// The codes with which a client asks for TLS or GSSAPI encryption instead of beginning.
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;

#[derive(Debug)]
enum Server {
    /// One letter is due for each request for encryption.
    Letter,
    /// Within the type and length of a message.
    Head { bytes: [u8; 5], filled: usize },
    /// Within a message of type `Z`: the next byte is the status.
    Status { rest: u32 },
    /// Within any other message.
    Body { rest: u32 },
}

/// Follows one session.
#[derive(Debug)]
pub struct Transaction {
    /// The start of what the client says, until it has really begun.
    opening: Option<Vec<u8>>,
    server: Server,
    opaque: bool,
    open: bool,
}

const HEAD: Server = Server::Head { bytes: [0; 5], filled: 0 };

impl Default for Transaction {
    fn default() -> Self {
        Self { opening: Some(Vec::new()), server: HEAD, opaque: false, open: false }
    }
}

impl Transaction {
    /// Whether a transaction is open.
    pub fn is_open(&self) -> bool {
        self.open && !self.opaque
    }

    /// Is shown what passes.
    pub fn bytes(&mut self, from: Side, bytes: &[u8]) {
        match from {
            _ if self.opaque => {}
            Side::Client => self.client(bytes),
            Side::Server => self.server(bytes),
        }
    }

    fn client(&mut self, bytes: &[u8]) {
        let Some(opening) = &mut self.opening else { return };
        opening.extend(bytes.iter().take(8usize.saturating_sub(opening.len())));
        let Some([0, 0, 0, length, a, b, c, d]) = opening.first_chunk() else {
            if opening.len() >= 8 {
                // Whatever this is, it is no short startup message; most often it is a long one.
                self.opening = None;
            }
            return;
        };
        let code = u32::from_be_bytes([*a, *b, *c, *d]);
        if *length == 8 && (code == SSL_REQUEST || code == GSS_REQUEST) {
            self.server = Server::Letter;
            opening.clear();
        } else {
            self.opening = None;
        }
    }

    fn server(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        while let Some((&first, after)) = bytes.split_first() {
            match &mut self.server {
                Server::Letter => {
                    // `N`: it goes on in clear. Anything else cannot be followed.
                    self.opaque = first != b'N';
                    self.server = HEAD;
                    if self.opaque {
                        return;
                    }
                    bytes = after;
                }
                Server::Head { bytes: head, filled } => {
                    if let Some(slot) = head.get_mut(*filled) {
                        *slot = first;
                    }
                    *filled += 1;
                    bytes = after;
                    if *filled == head.len() {
                        let [kind, length @ ..] = *head;
                        let Some(rest) = u32::from_be_bytes(length).checked_sub(4) else {
                            self.opaque = true;
                            return;
                        };
                        self.server = match (kind, rest) {
                            (_, 0) => HEAD,
                            (b'Z', rest) => Server::Status { rest },
                            _ => Server::Body { rest },
                        };
                    }
                }
                Server::Status { rest } => {
                    self.open = matches!(first, b'T' | b'E');
                    bytes = after;
                    self.server = if *rest > 1 { Server::Body { rest: *rest - 1 } } else { HEAD };
                }
                Server::Body { rest } => {
                    let here = u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(*rest);
                    bytes = bytes.get(here as usize..).unwrap_or_default();
                    *rest -= here;
                    if *rest == 0 {
                        self.server = HEAD;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STARTUP: &[u8] = b"\0\0\0\x0f\0\x03\0\0user\0x\0";
    const ASK_TLS: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";

    fn ready(status: u8) -> Vec<u8> {
        [b"R\0\0\0\x08\0\0\0\0".as_slice(), b"1\0\0\0\x04", b"Z\0\0\0\x05", &[status]].concat()
    }

    /// The bytes in pieces of this size; whether a transaction is open after them.
    fn check(script: &[(Side, &[u8])], piece: usize, expected: bool) {
        let mut transaction = Transaction::default();
        for (side, bytes) in script {
            for bytes in bytes.chunks(piece) {
                transaction.bytes(*side, bytes);
            }
        }
        assert_eq!(transaction.is_open(), expected, "in pieces of {piece}");
    }

    #[test]
    fn the_last_status_says_whether_a_transaction_is_open() {
        let all = [ready(b'I'), ready(b'T')].concat();
        let failed = ready(b'E');
        for piece in 1..24 {
            check(&[(Side::Client, STARTUP), (Side::Server, &ready(b'I'))], piece, false);
            check(&[(Side::Client, STARTUP), (Side::Server, &all)], piece, true);
            check(&[(Side::Client, STARTUP), (Side::Server, &failed)], piece, true);
        }
    }

    #[test]
    fn a_refused_request_for_tls_is_stepped_over_and_a_granted_one_is_opaque() {
        let refused = [b"N".as_slice(), &ready(b'T')].concat();
        let granted = [b"S".as_slice(), &ready(b'T')].concat();
        for piece in 1..24 {
            check(&[(Side::Client, ASK_TLS), (Side::Server, &refused)], piece, true);
            check(&[(Side::Client, ASK_TLS), (Side::Server, &granted)], piece, false);
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(script in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)), 0..20)) {
            let mut transaction = Transaction::default();
            for (up, bytes) in script {
                transaction.bytes(if up { Side::Client } else { Side::Server }, &bytes);
            }
        }
    }
}
