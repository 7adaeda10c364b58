//! One JSON object per line, with the keys that the reference documents show.

use std::{fmt, io};

use jiff::Timestamp;
use serde_json::Value;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

/// Which keys a line has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `{"level":"info","msg":"…","time":"2020-12-13T14:18:30Z"}`
    LevelMsgTime,
    /// `{"info":"INFO","T":"2020-12-13T14:25:03.758Z","M":"…"}`
    InfoTM,
}

/// The layer that writes them.
pub(super) struct JsonLines<W> {
    layout: Layout,
    writer: W,
}

impl<W> JsonLines<W> {
    pub(super) fn new(layout: Layout, writer: W) -> Self {
        Self { layout, writer }
    }
}

impl<S: Subscriber, W: Fn() -> O + 'static, O: io::Write> Layer<S> for JsonLines<W> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut line = line(self.layout, *event.metadata().level(), Timestamp::now(), fields);
        line.push('\n');
        // Nobody is left to tell when stderr is gone.
        (self.writer)().write_all(line.as_bytes()).ok();
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    /// In the order in which they were given.
    rest: Vec<(&'static str, Value)>,
}

fn line(layout: Layout, level: tracing::Level, now: Timestamp, fields: Fields) -> String {
    let Fields { message, rest } = fields;
    let head = match layout {
        Layout::LevelMsgTime => [
            ("level", level.as_str().to_lowercase()),
            ("msg", message),
            ("time", now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        ],
        Layout::InfoTM => [
            ("info", level.as_str().to_owned()),
            ("T", now.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()),
            ("M", message),
        ],
    };
    let mut line = String::from("{");
    for (key, value) in head.into_iter().map(|(key, text)| (key, Value::String(text))).chain(rest) {
        if line.len() > 1 {
            line.push(',');
        }
        line.push_str(&format!("\"{key}\":{value}"));
    }
    line.push('}');
    line
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.rest.push((field.name(), value.into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.rest.push((field.name(), value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.rest.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.rest.push((field.name(), value.into()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.rest.push((field.name(), value.into()));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.rest.push((field.name(), value.to_string().into()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            name => self.rest.push((name, text.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    fn check(layout: Layout, message: &str, fields: &[(&'static str, Value)], expected: &str) {
        let now: Timestamp = "2020-12-13T14:25:03.758123Z".parse().unwrap();
        let rest = fields.to_vec();
        assert_eq!(line(layout, Level::INFO, now, Fields { message: message.to_owned(), rest }), expected);
    }

    #[test]
    fn lines_have_the_keys_of_the_reference() {
        check(
            Layout::LevelMsgTime,
            "SERVICE_PORT: 8888",
            &[],
            r#"{"level":"info","msg":"SERVICE_PORT: 8888","time":"2020-12-13T14:25:03Z"}"#,
        );
        check(
            Layout::InfoTM,
            "Starting proxy listener",
            &[("addr", ":4143".into()), ("cid", 7.into())],
            r#"{"info":"INFO","T":"2020-12-13T14:25:03.758Z","M":"Starting proxy listener","addr":":4143","cid":7}"#,
        );
    }

    #[test]
    fn hostile_text_stays_within_its_string_and_its_line() {
        check(
            Layout::InfoTM,
            "x",
            &[("url", "/\"}\n{\"M\":\"forged\"\u{1b}[2J".into())],
            "{\"info\":\"INFO\",\"T\":\"2020-12-13T14:25:03.758Z\",\"M\":\"x\",\"url\":\"/\\\"}\\n{\\\"M\\\":\\\"forged\\\"\\u001b[2J\"}",
        );
    }
}
