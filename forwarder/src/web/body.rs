//! Pure. A body as its reader wants to see it: laid out by its type, never more than a page can carry.

use crate::coding::{self, Cut, Plain};
use crate::rrpair::content;
use crate::store::{head, row::Side};

use common::visible;

use super::{figures, hex, json};

/// Bytes of text that are shown, and when all of it is asked for.
const TEXT_BYTES: usize = 64 << 10;
const ALL_TEXT_BYTES: usize = 8 << 20;
/// Bytes that are shown as a dump, and when all of it is asked for.
const DUMP_BYTES: usize = 4 << 10;
const ALL_DUMP_BYTES: usize = 256 << 10;
/// Fields of a form that are shown, and characters of each.
const FIELDS: usize = 200;
const FIELD_CHARACTERS: usize = 2048;

/// What is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// There is none.
    Nothing,
    /// Text, to stand as it is.
    Text(String),
    /// A hex dump.
    Dump(String),
    /// The fields of a form.
    Form(Vec<(String, String)>),
}

/// A body to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Body {
    /// What it was taken for, with its type as it was told.
    pub(super) kind: String,
    /// What a reader should know about what is shown.
    pub(super) notes: Vec<String>,
    /// What is shown.
    pub(super) content: Content,
    /// Whether more was kept than is shown.
    pub(super) has_more: bool,
    /// Whether there is something to download.
    pub(super) is_kept: bool,
}

/// The body of one side; `all` asks for as much as there is.
pub(super) fn body(side: &Side, all: bool) -> Body {
    let bytes = content(side);
    let told = side.content_type.as_deref().unwrap_or_default();
    let mut notes = Vec::new();
    if side.truncated && side.wire_bytes > i64::try_from(side.body.len()).unwrap_or(i64::MAX) {
        let kept = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        notes.push(format!(
            "Cut short by CAPTURE_BODY_LIMIT: the first {} of {} were kept.",
            figures::exact_size(kept),
            figures::exact_size(side.body_bytes)
        ));
    }
    let coding = head::field(&side.head, "content-encoding")
        .filter(|coding| !matches!(coding.as_ref(), "" | "identity"));
    let plain = coding.as_deref().and_then(|told| undo(&bytes, told, side.truncated, &mut notes));
    let (kind, content, has_more) = match (&coding, &plain) {
        (Some(_), None) if !bytes.is_empty() => dump("Coded", &bytes, all),
        _ => {
            let is_part = side.truncated || plain.as_ref().is_some_and(|plain| plain.cut.is_some());
            shown(side, told, plain.as_ref().map_or(&bytes, |plain| &plain.bytes), is_part, all, &mut notes)
        }
    };
    let kind = match (kind, told.is_empty()) {
        ("", _) => String::new(),
        (kind, true) => format!("{kind}, no Content-Type"),
        (kind, false) => format!("{kind}, {}", visible::short(told.as_bytes(), 200)),
    };
    Body { kind, notes, content, has_more, is_kept: !bytes.is_empty() }
}

/// The body without its coding, as far as a page can carry it; the notes say what was done.
fn undo(bytes: &[u8], told: &str, is_part: bool, notes: &mut Vec<String>) -> Option<Plain> {
    let name = visible::short(told.as_bytes(), 100);
    let Some(plain) = coding::undo(bytes, told, ALL_TEXT_BYTES) else {
        if !bytes.is_empty() {
            notes.push(format!("Its content coding is {name}; it is shown as it is on the wire."));
        }
        return None;
    };
    let size = |bytes: &[u8]| figures::size(i64::try_from(bytes.len()).unwrap_or(i64::MAX));
    let (wire, shown) = (size(bytes), size(&plain.bytes));
    notes.push(match plain.cut {
        None => format!("It came as {name}, {wire}; it is shown decoded, {shown}."),
        Some(Cut::Limit) => format!("It came as {name}, {wire}; the first {shown} are shown decoded."),
        Some(Cut::Damaged) if is_part => {
            format!("It came as {name}; what was kept of it is shown decoded, {shown}.")
        }
        Some(Cut::Damaged) => {
            format!(
                "It came as {name}, and is damaged; what comes before the damage is shown decoded, {shown}."
            )
        }
    });
    Some(plain)
}

fn dump(kind: &'static str, bytes: &[u8], all: bool) -> (&'static str, Content, bool) {
    let most = if all { ALL_DUMP_BYTES } else { DUMP_BYTES };
    let start = bytes.get(..most).unwrap_or(bytes);
    (kind, Content::Dump(hex::dump(start)), start.len() < bytes.len())
}

fn shown(
    side: &Side,
    told: &str,
    bytes: &[u8],
    is_part: bool,
    all: bool,
    notes: &mut Vec<String>,
) -> (&'static str, Content, bool) {
    if bytes.is_empty() {
        if side.body_bytes > 0 && side.body.is_empty() {
            let size = figures::exact_size(side.body_bytes);
            notes.push(format!("{size} passed; none of it was kept."));
        }
        return ("", Content::Nothing, false);
    }
    let told = told.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is = |suffix: &str| told.ends_with(&format!("/{suffix}")) || told.ends_with(&format!("+{suffix}"));
    if !is_text(bytes, told.starts_with("text/")) {
        return dump("Binary", bytes, all);
    }
    let most = if all { ALL_TEXT_BYTES } else { TEXT_BYTES };
    if told == "application/x-www-form-urlencoded" {
        let mut fields = url::form_urlencoded::parse(bytes);
        let short = |text: &str| visible::short(text.as_bytes(), FIELD_CHARACTERS);
        let shown: Vec<_> = fields.by_ref().take(FIELDS).map(|(k, v)| (short(&k), short(&v))).collect();
        return ("Form", Content::Form(shown), fields.next().is_some());
    }
    let utf8 = std::str::from_utf8(bytes).ok().or_else(|| cut_character(bytes));
    if let Some(text) = utf8.filter(|_| is("json")) {
        if is_part || serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
            let (text, is_whole) = json::indent(text, most);
            return ("JSON", Content::Text(visible::lines(text.as_bytes())), !is_whole);
        }
        notes.push("It is not valid JSON, so it is shown as it came.".to_owned());
    }
    let start = bytes.get(..most).unwrap_or(bytes);
    let kind = match () {
        () if is("html") => "HTML source",
        () if is("xml") => "XML",
        () => "Text",
    };
    (kind, Content::Text(visible::lines(start)), start.len() < bytes.len())
}

/// The text, if it is UTF-8 but for a character at its end that was cut in two.
fn cut_character(bytes: &[u8]) -> Option<&str> {
    let error = std::str::from_utf8(bytes).err()?;
    let valid = bytes.get(..error.valid_up_to())?;
    error.error_len().is_none().then(|| std::str::from_utf8(valid).ok()).flatten()
}

/// Whether it reads as text: UTF-8 without bytes that text does not have. What says that it is text may be in
/// another character set, so a few bytes that are no UTF-8 are forgiven.
fn is_text(bytes: &[u8], says_so: bool) -> bool {
    let start = bytes.get(..TEXT_BYTES).unwrap_or(bytes);
    let odd = start.iter().filter(|byte| matches!(byte, 0..=8 | 0x0e..=0x1a | 0x1c..=0x1f | 0x7f)).count();
    let invalid: usize = match std::str::from_utf8(start) {
        Ok(_) => 0,
        Err(error) if error.error_len().is_none() => 0,
        Err(_) => start.utf8_chunks().map(|chunk| chunk.invalid().len()).sum(),
    };
    let forgiven = if says_so { start.len() / 4 } else { 0 };
    odd + invalid <= forgiven
}

#[cfg(test)]
mod tests;
