//! Ports stay where they are, whatever rules come and go.

use proptest::prelude::*;

use super::*;
use crate::rule::{RuleFile, Surroundings, check, parse};

/// A target port, and where clients come to.
type Written = (u16, Option<u16>);

const RANGE: RangeInclusive<u16> = 56_000..=56_009;

/// Rules by name, each with its target ports and perhaps where clients come to.
fn rules(written: &[(&str, &[Written])]) -> Rules {
    let file = |(name, ports): &(&str, &[Written])| -> (String, RuleFile) {
        let mut text = format!("name='{name}'\nprovider='lab'\nfilter.vm_ids=['1']\n");
        for (port, connect_on) in *ports {
            text += &format!("[[tcp.forward_rule]]\nport={port}\n");
            if let Some(connect_on) = connect_on {
                text += &format!("connect_on={connect_on}\n");
            }
        }
        ((*name).to_owned(), parse(name, &text).unwrap())
    };
    let around = Surroundings { providers: vec!["lab".to_owned()], tcp_ports: RANGE };
    check(&written.iter().map(file).collect::<Vec<_>>(), &around).unwrap()
}

fn port(ports: &Ports, rule: &str, target: u16) -> Option<u16> {
    ports.get(&RuleId::of(rule), target)
}

#[test]
fn a_port_stays_whatever_else_comes_and_goes() {
    let mut ports = Ports::default();
    assert_eq!(ports.allot(&rules(&[("m", &[(22, None), (80, None)])]), &RANGE), []);
    assert_eq!((port(&ports, "m", 22), port(&ports, "m", 80)), (Some(56_000), Some(56_001)));
    ports.allot(&rules(&[("a", &[(22, None)]), ("m", &[(80, None)])]), &RANGE);
    assert_eq!(port(&ports, "m", 80), Some(56_001));
    assert_eq!(port(&ports, "a", 22), Some(56_002), "56000 is still the rule's own");
    ports.allot(&rules(&[("m", &[(22, None)])]), &RANGE);
    assert_eq!((port(&ports, "m", 22), port(&ports, "a", 22)), (Some(56_000), None));
    let again: Ports = serde_json::from_str(&serde_json::to_string(&ports).unwrap()).unwrap();
    assert_eq!(again, ports);
}

#[test]
fn what_is_written_wins_over_what_is_allotted() {
    let mut ports = Ports::default();
    ports.allot(&rules(&[("a", &[(22, None)])]), &RANGE);
    ports.allot(&rules(&[("a", &[(22, None)]), ("b", &[(22, Some(56_000))])]), &RANGE);
    assert_eq!((port(&ports, "a", 22), port(&ports, "b", 22)), (Some(56_001), Some(56_000)));
}

#[test]
fn what_was_given_up_is_given_out_last_and_who_gets_none_is_named() {
    let mut ports = Ports::default();
    ports.allot(&rules(&[("a", &[(1, None), (2, None)])]), &RANGE);
    let many: Vec<_> = (1..=11).map(|target| (target, None)).collect();
    let none_free = ports.allot(&rules(&[("b", &many)]), &RANGE);
    assert_eq!((port(&ports, "b", 1), port(&ports, "b", 10)), (Some(56_002), Some(56_001)));
    assert_eq!(none_free, [NoneFree { rule: RuleId::of("b"), target_port: 11 }]);
}

proptest! {
    #[test]
    fn no_two_share_a_port_and_none_moves(steps in proptest::collection::vec(
        proptest::collection::btree_map("[a-c]", proptest::collection::btree_set(1_u16..5, 0..3), 0..3), 1..8,
    )) {
        let mut ports = Ports::default();
        for step in &steps {
            let written: Vec<(&str, Vec<Written>)> = step
                .iter()
                .map(|(name, targets)| (name.as_str(), targets.iter().map(|port| (*port, None)).collect()))
                .collect();
            let written: Vec<_> = written.iter().map(|(name, targets)| (*name, targets.as_slice())).collect();
            let before = ports.clone();
            prop_assert_eq!(ports.allot(&rules(&written), &RANGE), vec![]);
            let all: Vec<u16> = ports.allotted.values().flat_map(BTreeMap::values).copied().collect();
            let distinct: BTreeSet<u16> = all.iter().copied().collect();
            prop_assert_eq!(distinct.len(), all.len());
            for (name, targets) in step {
                for target in targets {
                    let had = port(&before, name, *target);
                    prop_assert!(port(&ports, name, *target).is_some());
                    prop_assert!(had.is_none() || had == port(&ports, name, *target));
                }
            }
        }
    }
}
