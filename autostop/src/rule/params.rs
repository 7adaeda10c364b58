//! Pure. Checks what a rule tells its provider beside the names of what it minds.

use serde_json::Value;

use super::check::Desk;
use crate::provider::Params;

/// The tables of the rule that are told to the provider under these names.
const OWN: [&str; 6] = ["tags", "regions", "zones", "scale_group", "container", "database"];

pub(super) fn params(desk: &mut Desk<'_>, written: &toml::Table) -> Params {
    let mut params = Params::new();
    for (name, told) in written {
        let key = format!("params.{name}");
        if OWN.contains(&name.as_str()) {
            desk.problem(&key, "has a place of its own in the rule; write it there");
            continue;
        }
        match value(told) {
            Some(told) => drop(params.insert(name.clone(), told)),
            None => desk.problem(&key, "has a date or a number without end in it; write it as text"),
        }
    }
    params
}

/// As JSON, which has neither dates nor infinite numbers.
fn value(told: &toml::Value) -> Option<Value> {
    Some(match told {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => Value::Number(serde_json::Number::from_f64(*number)?),
        toml::Value::Boolean(truth) => (*truth).into(),
        toml::Value::Datetime(_) => return None,
        toml::Value::Array(all) => Value::Array(all.iter().map(value).collect::<Option<_>>()?),
        toml::Value::Table(table) => {
            let each = table.iter().map(|(name, told)| Some((name.clone(), value(told)?)));
            Value::Object(each.collect::<Option<_>>()?)
        }
    })
}
