//! Pure. A target as it is evaluated, and what was found out about it.

use std::{borrow::Cow, cell::Cell};

use serde_json::Value;

use crate::{
    ruleset::{Attribute, Ruleset, Source},
    shape::Target,
};

/// A target whose attributes are texts already.
#[derive(Debug)]
pub struct Subject<'a> {
    pub(super) identifier: &'a str,
    name: &'a str,
    /// The identifier and the name as values, for dialects that know types.
    typed: [Value; 2],
    attributes: Vec<(&'a str, &'a Value, Cow<'a, str>)>,
}

impl<'a> Subject<'a> {
    /// This target.
    pub fn new(target: &'a Target) -> Self {
        let attributes = target.attributes.iter();
        Self {
            identifier: &target.identifier,
            name: &target.name,
            typed: [Value::String(target.identifier.clone()), Value::String(target.name.clone())],
            attributes: attributes.map(|(key, value)| (key.as_str(), value, text(value))).collect(),
        }
    }

    /// An attribute as text, as the Go SDK reads it; empty when there is none.
    pub(super) fn text(&self, attribute: &Attribute) -> &str {
        match attribute.source {
            Source::Identifier => self.identifier,
            Source::Name => self.name,
            Source::Attributes => self.find(&attribute.name).map_or("", |(_, text)| text),
        }
    }

    /// An attribute with its type, as the Python SDK reads it: none for lists and for nothing.
    pub(super) fn typed(&self, attribute: &Attribute) -> Option<&Value> {
        let [identifier, name] = &self.typed;
        let value = match attribute.exact_source() {
            Source::Identifier => Some(identifier),
            Source::Name if !self.name.is_empty() => Some(name),
            _ => self.find(&attribute.name).map(|(value, _)| value),
        };
        value.filter(|value| !value.is_null() && !value.is_array())
    }

    /// An attribute as text, as the Python SDK splits by it: 0, false and what is empty are as good as none. By other
    /// things that are no texts, it fails to split.
    pub(super) fn truthy(&self, attribute: &Attribute) -> &str {
        match self.typed(attribute) {
            None | Some(Value::Bool(false)) => "",
            Some(Value::String(text)) => text,
            Some(Value::Number(number)) if number.as_f64() == Some(0.0) => "",
            Some(Value::Object(map)) if map.is_empty() => "",
            Some(_) => self.text(attribute),
        }
    }

    fn find(&self, name: &str) -> Option<(&'a Value, &str)> {
        let found = self.attributes.iter().find(|(key, ..)| *key == name);
        found.map(|(_, value, text)| (*value, text.as_ref()))
    }
}

/// A value as text: numbers without an exponent, lists and objects as JSON.
fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => Cow::Borrowed(text),
        Value::Bool(true) => Cow::Borrowed("true"),
        Value::Bool(false) => Cow::Borrowed("false"),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            // Display of floats never writes an exponent.
            Some(number) => Cow::Owned(number.to_string()),
            None => Cow::Owned(number.to_string()),
        },
        Value::Array(_) | Value::Object(_) => Cow::Owned(value.to_string()),
    }
}

/// How a target stands to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Membership {
    Excluded,
    Included,
    Ruled,
    Outside,
}

impl Membership {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Excluded => "the target is excluded, which ends the search",
            Self::Included => "the target is included",
            Self::Ruled => "the target belongs to it by a rule",
            Self::Outside => "the target does not belong to it",
        }
    }
}

/// What was found out about a target and one set.
pub(super) struct Memo {
    pub(super) groups: Vec<Cell<Option<Membership>>>,
    /// By flag: whether its prerequisites hold.
    pub(super) chains: Vec<Cell<Option<bool>>>,
}

impl Memo {
    pub(super) fn new(rules: &Ruleset) -> Self {
        // Empty vectors take no memory, and most sets have no prerequisites.
        let chained = rules.flags.iter().any(|flag| !flag.prerequisites.is_empty());
        let chains = if chained { vec![Cell::new(None); rules.flags.len()] } else { Vec::new() };
        Self { groups: vec![Cell::new(None); rules.groups.len()], chains }
    }
}
