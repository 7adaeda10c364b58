//! Pure. Which port clients come to: allotted once per rule and target port, and kept from then on.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use serde::{Deserialize, Serialize};

use crate::rule::{RuleId, Rules};

/// What is allotted. To be durable before it is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ports {
    allotted: BTreeMap<RuleId, BTreeMap<u16, u16>>,
}

/// A rule's target port that got none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no port is free for {target_port} of the rule {rule}; make tcpPorts wider")]
pub struct NoneFree {
    /// The rule.
    pub rule: RuleId,
    /// Its target port.
    pub target_port: u16,
}

impl Ports {
    /// The port that leads to a rule's target port.
    pub fn get(&self, rule: &RuleId, target_port: u16) -> Option<u16> {
        self.allotted.get(rule)?.get(&target_port).copied()
    }

    /// Gives every target port of every rule a port of the range, and takes back what belonged to rules
    /// that are gone. While a rule exists, its ports are nobody else's, even when it does not use them for
    /// now. Only what is written as `connect_on` goes to who wrote it; who had it by allotment gets
    /// another. Ports where rules take HTTP are not allotted. Returns who got none.
    pub fn allot(&mut self, rules: &Rules, range: &RangeInclusive<u16>) -> Vec<NoneFree> {
        let fixed: BTreeSet<u16> =
            rules.iter().flat_map(|rule| &rule.tcp).filter_map(|tcp| tcp.connect_on).collect();
        let before = self.allotted.clone();
        self.allotted.retain(|rule, _| rules.get(rule).is_some());
        for ports in self.allotted.values_mut() {
            ports.retain(|_, port| range.contains(port) && !fixed.contains(port));
        }
        let mut wanting = Vec::new();
        for rule in rules.iter() {
            let ports = self.allotted.entry(rule.id.clone()).or_default();
            for tcp in &rule.tcp {
                if let Some(port) = tcp.connect_on {
                    ports.insert(tcp.target_port, port);
                } else if !ports.contains_key(&tcp.target_port) {
                    wanting.push((rule.id.clone(), tcp.target_port));
                }
            }
        }
        let http: BTreeSet<u16> =
            rules.iter().flat_map(|rule| &rule.http).map(|route| route.source_port).collect();
        let taken = self.allotted.values().flat_map(BTreeMap::values).chain(&fixed).chain(&http);
        let taken: BTreeSet<u16> = taken.copied().collect();
        // What another rule just gave up goes last: its clients may still come there.
        let given_up: BTreeSet<u16> = before.values().flat_map(BTreeMap::values).copied().collect();
        let mut free: Vec<u16> = range.clone().filter(|port| !taken.contains(port)).collect();
        free.sort_by_key(|port| given_up.contains(port));
        let mut free = free.into_iter();
        let mut none_free = Vec::new();
        for (rule, target_port) in wanting {
            match free.next() {
                Some(port) => {
                    self.allotted.entry(rule).or_default().insert(target_port, port);
                }
                None => none_free.push(NoneFree { rule, target_port }),
            }
        }
        none_free
    }
}

#[cfg(test)]
mod tests;
