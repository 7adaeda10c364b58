//! Pure. One request with its response, as a proxy saw it on the wire.

use std::net::SocketAddr;

use bytes::Bytes;

/// The TCP connection that an exchange belongs to; `A` is an address with its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection<A = SocketAddr> {
    /// Its number within the epoch of the proxy, from 0.
    pub number: u64,
    /// When it was accepted, in nanoseconds since the Unix epoch.
    pub accepted_at_ns: u64,
    /// The client.
    pub downstream: A,
    /// The server; `None` when none could be reached.
    pub upstream: Option<A>,
}

/// One request with its response, or one opaque stream in both directions; `B` holds its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange<B = Bytes> {
    /// Its number within the connection, from 0.
    pub index: u64,
    /// What the bytes were taken for.
    pub protocol: Protocol,
    /// What the client sent.
    pub request: Message<B>,
    /// What the server answered; `None` when not one byte of an answer came.
    pub response: Option<Message<B>>,
    /// Raw heads of the 1xx responses (RFC 9110 §15.2) that came before the response, in order; only
    /// the first of them when together they exceed what is kept of a head.
    pub informational: Vec<B>,
    /// How it ended.
    pub end: End,
    /// What was odd about it, without repetition.
    pub findings: Vec<Finding>,
}

/// One side of an exchange.
///
/// Until a limit cut it short, `head`, `body` and `trailers` in this order are the bytes on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message<B = Bytes> {
    /// When the first byte of its start line (or of an opaque stream) was read, in nanoseconds since
    /// the Unix epoch; 0 when not one came.
    pub first_byte_ns: u64,
    /// When its last byte was read.
    pub last_byte_ns: u64,
    /// Raw start line and field lines with the empty line that ends them, and with empty lines that
    /// stood before them (RFC 9112 §2.2); the start of them if shorter than `head_bytes`.
    pub head: B,
    /// True length of the head on the wire.
    pub head_bytes: u64,
    /// How the end of the body was told.
    pub framing: Framing,
    /// The body as it stood on the wire, for [`Framing::Chunked`] with its chunk lines up to and
    /// with the last chunk's; the start of it if shorter than `wire_bytes`.
    pub body: B,
    /// True length of the content, without chunk lines.
    pub body_bytes: u64,
    /// True length of the body on the wire, with chunk lines and without trailers.
    pub wire_bytes: u64,
    /// Raw trailer section (RFC 9112 §7.1.2) with the empty line that ends it; empty unless chunked,
    /// and the start of it when it exceeds what is kept of a head.
    pub trailers: B,
}

impl<B: AsRef<[u8]>> Message<B> {
    /// Whether a limit cut the kept head or body short.
    pub fn truncated(&self) -> bool {
        let [head, body] = [&self.head, &self.body].map(|kept| kept.as_ref().len() as u64);
        head < self.head_bytes || body < self.wire_bytes
    }
}

/// Names and numbers of a closed set; the numbers stand in stored files and never change.
macro_rules! closed {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant = $number,)+ }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name in queries, in metrics and in JSON.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The value of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == name)
            }

            /// The value of this number.
            pub fn from_number(number: u32) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| *value as u32 == number)
            }
        }
    };
}

closed! {
    /// What the bytes of an exchange were taken for.
    Protocol {
        /// Nothing that is decoded: times and counts only.
        Tcp = 1 "tcp",
        /// HTTP/1.0 or HTTP/1.1.
        Http1 = 2 "http",
        /// HTTP/2 with prior knowledge; not decoded yet.
        Http2 = 3 "http2",
        /// TLS that was not terminated here.
        Tls = 4 "tls",
        /// What follows an upgrade to WebSocket; not decoded yet.
        WebSocket = 5 "websocket",
    }
}

closed! {
    /// How an exchange ended.
    End {
        /// The response came to its end.
        Complete = 1 "complete",
        /// The client left or reset before that.
        AbortedByClient = 2 "aborted_by_client",
        /// The server left, reset or could not be reached.
        AbortedByServer = 3 "aborted_by_server",
        /// The proxy itself ended it when it was told to stop.
        Cut = 4 "cut",
    }
}

closed! {
    /// Something about an exchange that a reader should know: it was relayed as it came all the same.
    Finding {
        /// Both `Content-Length` and `Transfer-Encoding` (RFC 9112 §6.3).
        AmbiguousLength = 1 "ambiguous_length",
        /// Several `Content-Length` values that differ.
        ConflictingLength = 2 "conflicting_length",
        /// A `Content-Length` that is not a number.
        BadLength = 3 "bad_length",
        /// A `Transfer-Encoding` that does not end in `chunked`, or names it twice.
        BadTransferEncoding = 4 "bad_transfer_encoding",
        /// A line that ended in LF without CR.
        BareLf = 5 "bare_lf",
        /// A chunk line or chunk end that is not one; the rest of the connection is opaque.
        BadChunk = 6 "bad_chunk",
        /// A field line folded over two lines (RFC 9112 §5.2).
        FoldedField = 7 "folded_field",
        /// White space before the colon of a field line.
        SpaceBeforeColon = 8 "space_before_colon",
        /// A field line without a colon, or with a name that is not a token.
        BadField = 9 "bad_field",
        /// A start line that is none; the rest of the connection is opaque.
        BadStartLine = 10 "bad_start_line",
        /// A response to no request.
        UnsolicitedResponse = 11 "unsolicited_response",
        /// The response ended before the request did.
        EarlyResponse = 12 "early_response",
        /// More bytes waited for the answer to an upgrade than are kept; the rest is opaque.
        UpgradeOverflow = 13 "upgrade_overflow",
        /// The decoder failed; the rest of the connection is opaque.
        DecoderFailed = 14 "decoder_failed",
        /// CR in the middle of a line, or NUL.
        ControlByte = 15 "control_byte",
        /// `Transfer-Encoding` in an HTTP/1.0 message (RFC 9112 §6.1).
        TransferEncodingInHttp10 = 16 "transfer_encoding_in_http10",
        /// A request target with white space or a control byte in it.
        BadTarget = 17 "bad_target",
        /// More requests waited for their answers than there was memory to follow; the rest is opaque.
        PipelineOverflow = 18 "pipeline_overflow",
        /// Secrets in it were overwritten before it was kept; lengths are true, the bytes are not.
        Redacted = 19 "redacted",
    }
}

/// How the end of a body is told (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// `Content-Length`.
    Length,
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The body lasts until the connection closes; also any opaque stream.
    Close,
}

impl Framing {
    /// Its name in queries and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Length => "length",
            Self::Chunked => "chunked",
            Self::Close => "close",
        }
    }
}
