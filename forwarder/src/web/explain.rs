//! Pure. What a mark on an exchange means, in a sentence.

use common::exchange::{End, Finding};

/// What a finding says, by its name.
pub(super) fn finding(name: &str) -> &'static str {
    let Some(finding) = Finding::from_name(name) else {
        return "This version does not know what it means.";
    };
    match finding {
        Finding::AmbiguousLength => {
            "The message has both Content-Length and Transfer-Encoding; readers that trust different ones see different messages (request smuggling)."
        }
        Finding::ConflictingLength => "Content-Length is given several times, with different values.",
        Finding::BadLength => "Content-Length is not a number.",
        Finding::BadTransferEncoding => "Transfer-Encoding does not end in chunked, or names it twice.",
        Finding::BareLf => "A line ends in LF without CR; some readers take that for no line end.",
        Finding::BadChunk => {
            "A chunk is not well formed; from there on the connection is not understood, only relayed."
        }
        Finding::FoldedField => "A field goes on over a second line, which RFC 9112 no longer allows.",
        Finding::SpaceBeforeColon => {
            "There is white space before the colon of a field; some readers ignore that field."
        }
        Finding::BadField => "A field line has no colon, or a name that is not a token.",
        Finding::BadStartLine => {
            "The first line is none of HTTP; from there on the connection is not understood, only relayed."
        }
        Finding::UnsolicitedResponse => "The server sent a response that nobody had asked for.",
        Finding::EarlyResponse => "The response ended before the request did.",
        Finding::UpgradeOverflow => {
            "More bytes waited for the answer to an upgrade than are kept; the rest is not understood, only relayed."
        }
        Finding::DecoderFailed => {
            "The decoder failed here, which is a fault of goproxy; the rest is not understood, only relayed."
        }
        Finding::ControlByte => "A line holds NUL, or CR in its middle.",
        Finding::TransferEncodingInHttp10 => {
            "Transfer-Encoding stands in a message of HTTP/1.0, which does not know it."
        }
        Finding::BadTarget => "The request target holds white space or a control byte.",
        Finding::PipelineOverflow => {
            "More requests waited for their answers than there was memory to follow; the rest is not understood, only relayed."
        }
        Finding::Redacted => {
            "goproxy overwrote secrets in it before it was kept: equal ones by equal tokens, all by as many bytes."
        }
    }
}

/// A word or two for an end that is not the usual one, and what it means.
pub(super) fn end(name: &str) -> Option<(&'static str, &'static str)> {
    match End::from_name(name) {
        Some(End::Complete) => None,
        Some(End::AbortedByClient) => Some(("client left", "The client left before the response was over.")),
        Some(End::AbortedByServer) => Some((
            "server left",
            "The server left, reset or could not be reached before the response was over.",
        )),
        Some(End::Cut) => Some(("cut", "goproxy ended the connection because it was told to stop.")),
        None => Some(("unknown end", "This version does not know how it ended.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_and_every_end_has_its_own_sentence() {
        let sentences: std::collections::HashSet<_> =
            Finding::ALL.iter().map(|known| finding(known.as_str())).collect();
        assert_eq!(sentences.len(), Finding::ALL.len());
        assert!(sentences.iter().all(|sentence| sentence.ends_with('.')));
        assert!(finding("of_the_future").ends_with('.'));
        assert_eq!(end("complete"), None);
        assert_eq!(End::ALL.iter().filter(|known| end(known.as_str()).is_some()).count(), End::ALL.len() - 1);
    }
}
