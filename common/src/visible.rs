//! Pure. Text of strangers in which nothing hides: control characters, what turns the reading direction,
//! characters without a width, and bytes that are no UTF-8 are all written out.
//!
//! Escaping for HTML is the templates' work and comes after this.

/// One line: line ends and tabs are written out as well.
pub fn line(bytes: &[u8]) -> String {
    write(bytes, false)
}

/// As [`line()`], and cut behind so many characters.
pub fn short(bytes: &[u8], most: usize) -> String {
    // A character has at most four bytes, and no more of them need to be looked at.
    let looked_at = bytes.get(..most.saturating_mul(4)).unwrap_or(bytes);
    let text = line(looked_at);
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None if looked_at.len() < bytes.len() => format!("{text}…"),
        None => text,
    }
}

/// Several lines: line ends (CRLF too) and tabs stay what they are.
pub fn lines(bytes: &[u8]) -> String {
    write(bytes, true)
}

fn write(bytes: &[u8], several: bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        let mut characters = chunk.valid().chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\n' | '\t' if several => text.push(character),
                '\r' if several && characters.peek() == Some(&'\n') => {}
                _ => push(&mut text, character),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("⟨{byte:02X}⟩"));
        }
    }
    text
}

fn push(text: &mut String, character: char) {
    match u32::from(character) {
        // As a byte that is no UTF-8: few fonts have pictures of them.
        code @ (0..=0x1f | 0x7f) => text.push_str(&format!("⟨{code:02X}⟩")),
        code if is_hidden(code) => text.push_str(&format!("⟨U+{code:04X}⟩")),
        _ => text.push(character),
    }
}

/// C1 controls, soft hyphen, marks of direction, what has no width, separators, annotations, and tags.
fn is_hidden(code: u32) -> bool {
    matches!(
        code,
        0x80..=0x9f | 0xad | 0x61c | 0x115f | 0x1160 | 0x180b..=0x180e | 0x200b..=0x200f | 0x2028..=0x202e
            | 0x2060..=0x206f | 0x3164 | 0xfeff | 0xffa0 | 0xfff0..=0xfffb | 0xe0000..=0xe0fff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hides() {
        let check = |bytes: &[u8], expected: &str| assert_eq!(line(bytes), expected);
        check(b"plain <b>&\"'", "plain <b>&\"'");
        check("Grüße ☃".as_bytes(), "Grüße ☃");
        check(b"a\0b\x1b[31m\r\n\t\x7f", "a⟨00⟩b⟨1B⟩[31m⟨0D⟩⟨0A⟩⟨09⟩⟨7F⟩");
        check("a\u{202e}gpj.exe".as_bytes(), "a⟨U+202E⟩gpj.exe");
        check("\u{200b}\u{feff}\u{2066}\u{85}".as_bytes(), "⟨U+200B⟩⟨U+FEFF⟩⟨U+2066⟩⟨U+0085⟩");
        check("\u{e0041}".as_bytes(), "⟨U+E0041⟩");
        check(b"caf\xe9 \xff\xfe", "caf⟨E9⟩ ⟨FF⟩⟨FE⟩");
    }

    #[test]
    fn several_lines_keep_their_ends() {
        assert_eq!(lines(b"a\r\nb\n\tc\rd"), "a\nb\n\tc⟨0D⟩d");
    }

    #[test]
    fn what_is_too_long_is_cut() {
        assert_eq!(short(b"abc", 3), "abc");
        assert_eq!(short(b"abcd", 3), "abc…");
        assert_eq!(short("ééééé".as_bytes(), 2), "éé…");
        assert_eq!(short(&[b'x'; 100_000], 10).chars().count(), 11);
    }
}
