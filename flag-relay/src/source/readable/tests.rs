//! What people write, and what is made of it.

use super::*;
use crate::{
    environment::{Environment as Served, History},
    evaluate::{Dialect, Evaluation, Subject},
    example::target,
};

const FILE: &str = r##"
environment: prod-1
name: Production
keys:
  - a-key
  - sha256:d4f79b313f8106f5af108ad96ff516222dbfd5a0ab52f4308e4b1ad1d740de60
flags:
  dark-mode:
    targets: { true: [ann] }
    groups: { true: [staff] }
    rules:
      - when: { plan: { equal: pro }, age: { gt: 3 } }
        serve: true
      - when: { identifier: { starts_with: t } }
        split: { weights: { true: 57, false: 43 } }
  color:
    kind: string
    variations: { blue: "#00f", green: "#0f0" }
    default: blue
    requires: { dark-mode: true }
  limit:
    kind: int
    variations: { low: 10, high: 99.5 }
    default: low
    on: false
  theme:
    kind: json
    variations: { plain: { size: 1 } }
    default: plain
groups:
  staff: { include: [bob], rules: [{ email: { ends_with: "@x.io" } }] }
targets:
  ann: { plan: free }
"##;

fn served() -> Served {
    Served::build(read("file", FILE, Format::Yaml).unwrap(), &History::default(), 1).unwrap()
}

#[test]
fn a_file_is_an_environment() {
    let served = served();
    assert_eq!((&*served.id, &*served.name, served.keys.len()), ("prod-1", "Production", 2));
    assert!(served.keys.contains(&KeyHash::of("a-key")) && served.keys.contains(&KeyHash::of("apikey1")));
    assert_eq!(served.targets["ann"].attributes["plan"], "free");
    let value = |flag: &str, who: &str, attributes: serde_json::Value| {
        let who = target(who, attributes);
        let (subject, flag) = (Subject::new(&who), served.rules.flag(flag).unwrap());
        let evaluate = |dialect| {
            let evaluation = Evaluation::new(&served.rules, &subject, dialect);
            evaluation.variation(flag).unwrap().0.value.to_string()
        };
        let value = evaluate(Dialect::Relay);
        assert_eq!(value, evaluate(Dialect::Python), "what people write means the same to all SDKs");
        value
    };
    let check = |flag: &str, who: &str, attributes: &str, expected: &str| {
        let attributes = serde_json::from_str(attributes).unwrap();
        assert_eq!(value(flag, who, attributes), expected, "{flag} {who}");
    };
    check("dark-mode", "ann", "{}", "true");
    check("dark-mode", "bob", "{}", "true");
    check("dark-mode", "eve", r#"{"email":"e@x.io"}"#, "true");
    check("dark-mode", "eve", r#"{"plan":"pro","age":"5"}"#, "true");
    check("dark-mode", "eve", r#"{"plan":"pro"}"#, "false");
    // `identifier:test` falls into bucket 57.
    check("dark-mode", "test", "{}", "true");
    check("color", "ann", "{}", "#00f");
    check("limit", "ann", "{}", "10");
    check("theme", "ann", "{}", r#"{"size":1}"#);
}

#[test]
fn json_will_do_and_the_name_of_the_file_is_the_id() {
    let read = read("staging", r#"{"keys":["k"],"flags":{"f":{"on":false}}}"#, Format::Json).unwrap();
    assert_eq!((read.id.as_str(), read.flags[0].state), ("staging", State::Off));
}

#[test]
fn what_is_wrong_is_told() {
    let check = |text: &str, expected: &str| {
        let problems = read("e", text, Format::Yaml).unwrap_err().join("\n");
        assert!(problems.contains(expected), "{problems}");
    };
    check("flags: { f: { of: true } }", "unknown field `of`");
    check("flags: { f: {}, f: {} }", "stands twice");
    check("flags: { f: { kind: string, variations: { a: 1 } } }", "flag f: say its default");
    check("flags: { f: { kind: string } }", "flag f: it has no variations");
    check("flags: { f: { rules: [{ serve: true }] } }", "rule 1 has no conditions");
    check("flags: { f: { rules: [{ when: { a: { equal: b } } }] } }", "either serve or split");
    check("flags: { f: { rules: [{ when: { a: { equals: b } }, serve: true }] } }", "did you mean equal?");
    check("keys: ['sha256:12']", "key 1 is no SHA-256");
    check("flags: [", "");
    for keys in ["my-secret", "{ my-secret: 1 }", "[[my-secret]]", "[{ a: my-secret }]", "[true]"] {
        let problems =
            read("e", &format!("keys: {keys}\nflags: {{ f: {{ of: 1 }} }}"), Format::Yaml).unwrap_err();
        assert!(
            problems.iter().all(|problem| !problem.contains("my-secret")),
            "a key is a secret: {problems:?}"
        );
        let problems = read("e", &format!("keys: {keys}"), Format::Yaml).unwrap_err();
        assert!(
            problems.iter().all(|problem| !problem.contains("my-secret")),
            "a key is a secret: {problems:?}"
        );
    }
}
