//! The text of a corpus file: repetition and escapes. The end-to-end tests read the same files with it.

/// The `*3 text` or ` text` behind the first character of a line.
pub(crate) fn repeated(rest: &str) -> Option<(usize, &str)> {
    match rest.strip_prefix('*') {
        Some(rest) => rest.split_once(' ').and_then(|(times, text)| Some((times.parse().ok()?, text))),
        None => Some((1, rest.strip_prefix(' ')?)),
    }
}

/// The bytes that a text with escapes stands for.
pub(crate) fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next()? {
                b'r' => b'\r',
                b'n' => b'\n',
                b't' => b'\t',
                b'0' => 0,
                b'\\' => b'\\',
                b'x' => {
                    let digits = [rest.next()?, rest.next()?];
                    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                }
                _ => return None,
            },
            byte => byte,
        });
    }
    Some(bytes)
}
