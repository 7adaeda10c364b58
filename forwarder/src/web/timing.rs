//! Pure. When the parts of an exchange happened, as bars along one line of time.

use crate::store::row::Row;

use super::figures;

/// What the line of time is long, in the units of the drawing.
const WIDTH: f64 = 1000.0;
/// A bar is never thinner, or it could not be seen.
const THINNEST: f64 = 4.0;

/// One part of an exchange.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Phase {
    /// What happened.
    pub(super) name: &'static str,
    /// What it means.
    pub(super) meaning: &'static str,
    /// Its color, as a class of the style sheet.
    pub(super) class: &'static str,
    /// When it began, from the first byte of the request.
    pub(super) begins: String,
    /// How long it lasted.
    pub(super) lasts: String,
    /// Where its bar begins.
    pub(super) x: String,
    /// How long its bar is.
    pub(super) width: String,
}

/// The parts of an exchange, in order.
pub(super) fn phases(row: &Row) -> Vec<Phase> {
    let mut spans = Vec::new();
    // A later exchange of a connection says nothing of connecting: the connection was in use.
    if row.exchange_index == 0 && row.connected_before_ns > 0 {
        let meaning = "from the accepted connection to the first byte of the request";
        spans.push(("Connect", meaning, "connect", row.connected_before_ns.saturating_neg(), 0));
    }
    let requested = row.request_last_byte_after_ns.max(0);
    spans.push(("Request", "from its first byte to its last", "request", 0, requested));
    if let Some(first) = row.response_first_byte_after_ns {
        if first > requested {
            let meaning = "for the first byte of the response";
            spans.push(("Waiting", meaning, "waiting", requested, first));
        }
        spans.push((
            "Response",
            "from its first byte to its last",
            "response",
            first,
            row.duration_ns.max(first),
        ));
    }
    let from = spans.iter().map(|span| span.3).min().unwrap_or_default();
    let until = spans.iter().map(|span| span.4).max().unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "it is drawn")]
    let scale = |ns: i64| ns as f64 * WIDTH / (until.saturating_sub(from).max(1)) as f64;
    let phase = |(name, meaning, class, begins, ends): (_, _, _, i64, i64)| {
        let lasts = ends.saturating_sub(begins);
        let width = scale(lasts).clamp(THINNEST, WIDTH);
        let x = scale(begins.saturating_sub(from)).min(WIDTH - width);
        Phase {
            name,
            meaning,
            class,
            begins: figures::duration(begins),
            lasts: figures::duration(lasts),
            x: format!("{x:.1}"),
            width: format!("{width:.1}"),
        }
    };
    spans.into_iter().map(phase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;

    fn row(connected: i64, requested: i64, first: Option<i64>, duration: i64) -> Row {
        let mut row = samples::rows("a", 1, 1..=1).remove(0);
        row.exchange_index = 0;
        row.connected_before_ns = connected;
        row.request_last_byte_after_ns = requested;
        row.response_first_byte_after_ns = first;
        row.duration_ns = duration;
        row
    }

    #[test]
    fn parts_lie_along_one_line() {
        let check = |row: Row, expected: &[(&str, &str, &str)]| {
            let phases = phases(&row);
            let told: Vec<_> =
                phases.iter().map(|part| (part.name, part.x.as_str(), part.width.as_str())).collect();
            assert_eq!(told, expected);
        };
        check(
            row(100, 100, Some(500), 900),
            &[
                ("Connect", "0.0", "100.0"),
                ("Request", "100.0", "100.0"),
                ("Waiting", "200.0", "400.0"),
                ("Response", "600.0", "400.0"),
            ],
        );
        // A response that begins before the request ended.
        check(row(0, 500, Some(250), 1000), &[("Request", "0.0", "500.0"), ("Response", "250.0", "750.0")]);
        check(row(0, 0, None, 0), &[("Request", "0.0", "4.0")]);
        check(
            row(0, 0, Some(1_000_000), 1_000_000),
            &[("Request", "0.0", "4.0"), ("Waiting", "0.0", "1000.0"), ("Response", "996.0", "4.0")],
        );
        let mut later = row(1_000_000, 500, None, 500);
        later.exchange_index = 1;
        check(later, &[("Request", "0.0", "1000.0")]);
    }
}
