//! Pure. A raw head as its lines: in their order, in their case, and with those that are none.

use common::visible;

/// Lines that are shown of one head.
const MOST_LINES: usize = 200;
/// Characters that are shown of one value.
const MOST_CHARACTERS: usize = 4096;

/// One line behind the start line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldLine {
    /// The name; empty when the line is not a field: it goes on from the line before, or has no colon.
    pub(super) name: String,
    /// The value, or the whole line.
    pub(super) value: String,
}

/// A head to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The first line that is not empty.
    pub(super) start: String,
    /// The lines behind it.
    pub(super) fields: Vec<FieldLine>,
    /// Lines that are not shown.
    pub(super) more: usize,
}

/// A head with its start line.
pub(super) fn head(raw: &[u8]) -> Head {
    let mut lines = raw.split(|byte| *byte == b'\n').map(bare).skip_while(|line| line.is_empty());
    let start = visible::short(lines.next().unwrap_or_default(), MOST_CHARACTERS);
    let (fields, more) = fields(lines);
    Head { start, fields, more }
}

/// A trailer section: fields alone.
pub(super) fn trailers(raw: &[u8]) -> Head {
    let (fields, more) = fields(raw.split(|byte| *byte == b'\n').map(bare));
    Head { start: String::new(), fields, more }
}

fn bare(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn fields<'a>(lines: impl Iterator<Item = &'a [u8]>) -> (Vec<FieldLine>, usize) {
    let mut lines = lines.take_while(|line| !line.is_empty());
    let shown = lines.by_ref().take(MOST_LINES).map(field).collect();
    (shown, lines.count())
}

fn field(line: &[u8]) -> FieldLine {
    let folded = line.first().is_some_and(|first| matches!(first, b' ' | b'\t'));
    let colon = memchr::memchr(b':', line).filter(|_| !folded);
    let (name, value) = match colon.and_then(|at| line.split_at_checked(at)) {
        Some((name, value)) => (name, value.get(1..).unwrap_or_default().trim_ascii()),
        None => (&[][..], line),
    };
    FieldLine { name: visible::short(name, 256), value: visible::short(value, MOST_CHARACTERS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(head: &Head) -> Vec<(&str, &str)> {
        head.fields.iter().map(|field| (field.name.as_str(), field.value.as_str())).collect()
    }

    #[test]
    fn lines_keep_their_order_and_case_and_none_is_left_out() {
        let shown =
            head(b"\r\nGET / HTTP/1.1\r\nhOST:  a \r\nX: 1\r\n folded\r\nno colon\r\nX: \x00\r\n\r\n");
        assert_eq!(shown.start, "GET / HTTP/1.1");
        assert_eq!(
            told(&shown),
            [("hOST", "a"), ("X", "1"), ("", " folded"), ("", "no colon"), ("X", "⟨00⟩")]
        );
        assert_eq!(told(&trailers(b"a: b\nc:d\r\n\r\n")), [("a", "b"), ("c", "d")]);
        assert_eq!(head(b""), Head::default());
    }

    #[test]
    fn a_huge_head_is_bounded() {
        let raw = [b"GET / HTTP/1.1\r\n".to_vec(), b"a: b\r\n".repeat(1000)].concat();
        let shown = head(&raw);
        assert_eq!((shown.fields.len(), shown.more), (200, 801 - 1));
        let raw = [b"GET / HTTP/1.1\r\nx: ".to_vec(), vec![b'y'; 1 << 20]].concat();
        assert_eq!(head(&raw).fields.first().unwrap().value.chars().count(), 4097);
    }
}
