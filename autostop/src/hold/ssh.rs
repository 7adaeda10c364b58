//! Pure. SSH: a server may send other lines before its version (RFC 4253 §4.2), and a client that gets
//! some does not give up.

use super::Notice;

/// One such line.
pub fn line(notice: &Notice) -> Vec<u8> {
    format!("autostop: {}\r\n", notice.sentence()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hold::starting;

    #[test]
    fn a_line_says_how_long_it_takes_and_is_no_version() {
        assert_eq!(line(&starting(Some(12_300))), b"autostop: build-box is starting, about 13 s left\r\n");
        assert!(!line(&starting(None)).starts_with(b"SSH-"));
        assert!(line(&Notice { failure: Some("x".repeat(900)), ..starting(None) }).len() < 255);
    }
}
