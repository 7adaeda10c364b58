//! Pure. Bytes as a hex dump: offset, sixteen bytes, and the text in them.

use std::fmt::Write as _;

/// The dump, one line for sixteen bytes.
pub(super) fn dump(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 5);
    for (number, row) in bytes.chunks(16).enumerate() {
        // Writing to a text cannot fail.
        write!(text, "{:08x} ", number * 16).ok();
        for at in 0..16 {
            let gap = if at == 8 { " " } else { "" };
            match row.get(at) {
                Some(byte) => write!(text, "{gap} {byte:02x}").ok(),
                None => write!(text, "{gap}   ").ok(),
            };
        }
        let printable = |byte: &u8| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '·' };
        text.push_str("  ");
        text.extend(row.iter().map(printable));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_lines_up() {
        assert_eq!(dump(b""), "");
        assert_eq!(
            dump(b"0123456789abcdef\x00\xff<"),
            "00000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  0123456789abcdef\n\
             00000010  00 ff 3c                                          ··<\n"
        );
    }
}
