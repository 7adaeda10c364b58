//! docs/flag-relay.md says what is so: its example can be served, and it names every setting.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use flag_relay::{
    config::SETTINGS,
    environment::{Environment, History},
    evaluate::{Dialect, Evaluation, Subject},
    lint::{Kind, lint},
    source::readable::{Format, read},
};

const DOCUMENT: &str = include_str!("../../docs/flag-relay.md");

fn example() -> Environment {
    let text = DOCUMENT.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let told = read("file", text, Format::Yaml).unwrap_or_else(|problems| panic!("{problems:?}"));
    Environment::build(told, &History::default(), 1).unwrap_or_else(|problems| panic!("{problems:?}"))
}

#[test]
fn the_example_can_be_served_and_says_what_it_means() {
    let served = example();
    assert_eq!((served.rules.flags().len(), served.keys.len()), (2, 2));
    let target = served.targets.get("ann").unwrap();
    let subject = Subject::new(target);
    let evaluation = Evaluation::new(&served.rules, &subject, Dialect::Relay);
    let (variation, _) = evaluation.variation(served.rules.flag("dark-mode").unwrap()).unwrap();
    assert_eq!(&*variation.value, "true");
    let (variation, _) = evaluation.variation(served.rules.flag("banner").unwrap()).unwrap();
    assert_eq!(&*variation.identifier, "none");
    assert!(lint(&served.rules).iter().all(|told| told.kind != Kind::Rules), "all SDKs agree on it");
}

#[test]
fn every_setting_is_documented() {
    for setting in &SETTINGS {
        assert!(DOCUMENT.contains(&format!("`{}`", setting.key)), "{} is not in the document", setting.key);
    }
}
