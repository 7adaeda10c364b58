//! Pure. How a variation is told, written once and not at every request.

use serde_json::{Number, Value};

use crate::shape::{FeatureConfig, Kind, Variation};

/// As SDKs are told; the value is always a text.
pub(super) fn told(flag: &FeatureConfig, variation: &Variation) -> String {
    format!(
        r#"{{"flag":{},"identifier":{},"kind":"{}","value":{}}}"#,
        text(&flag.feature),
        text(&variation.identifier),
        flag.kind.as_str(),
        text(&variation.value)
    )
}

/// As OFREP tells it, up to the reason; the value has the type of the flag's kind.
pub(super) fn typed(flag: &FeatureConfig, variation: &Variation) -> String {
    format!(
        r#"{{"key":{},"variant":{},"value":{},"reason":"#,
        text(&flag.feature),
        text(&variation.identifier),
        typed_value(flag.kind, &variation.value)
    )
}

fn typed_value(kind: Kind, value: &str) -> Value {
    match kind {
        Kind::Boolean => Value::Bool(value.eq_ignore_ascii_case("true")),
        Kind::String => Value::String(value.to_owned()),
        Kind::Int => number(value),
        Kind::Json => serde_json::from_str(value).unwrap_or_default(),
    }
}

fn number(value: &str) -> Value {
    if let Ok(whole) = value.parse::<i64>() {
        return whole.into();
    }
    value.parse().ok().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}
