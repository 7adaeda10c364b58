//! Pure. All rules that are written anywhere, and whose they are: ours, or another proxy's.

use std::collections::BTreeMap;

use super::{Problem, Rule, RuleFile, RuleId, Rules, Surroundings, check};

/// Where a rule is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// In a file of somebody else's, who alone changes it.
    ByHand,
    /// It was given to the API.
    Given,
    /// In the shared control plane.
    Shared,
}

/// A rule as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// Where.
    pub home: Home,
    /// The name of its file, for people.
    pub file: String,
    /// What it says.
    pub rule: RuleFile,
}

/// All of them, checked.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    rules: Rules,
    /// Those of other proxies, by the proxy.
    elsewhere: BTreeMap<String, Rules>,
    written: BTreeMap<RuleId, Box<Written>>,
}

impl Shelf {
    /// Checks all of them: ours against what is around here, those of other proxies as far as it can be told here.
    /// A rule without `proxy_id` is ours, and so are all of the shared control plane.
    ///
    /// # Errors
    /// Every problem of every rule.
    pub fn sort(all: Vec<Written>, here: &str, around: &Surroundings) -> Result<Self, Vec<Problem>> {
        let mut groups: BTreeMap<&str, Vec<(String, RuleFile)>> = BTreeMap::new();
        for one in &all {
            groups.entry(one.proxy(here)).or_default().push((one.file.clone(), one.rule.clone()));
        }
        let (mut shelf, mut problems) = (Self::default(), Vec::new());
        for (proxy, files) in &groups {
            let checked = match *proxy {
                "" => check(files, around),
                _ => check(files, &anywhere(files)),
            };
            match checked {
                Ok(rules) if proxy.is_empty() => shelf.rules = rules,
                Ok(rules) => drop(shelf.elsewhere.insert((*proxy).to_owned(), rules)),
                Err(more) => problems.extend(more),
            }
        }
        let mut taken: BTreeMap<RuleId, Box<Written>> = BTreeMap::new();
        for one in all {
            let id = RuleId::of(&one.rule.name);
            match taken.get(&id) {
                // Within one proxy that was told already.
                Some(first) if first.proxy(here) != one.proxy(here) => problems.push(Problem {
                    file: one.file,
                    key: "name".to_owned(),
                    message: format!("`{}` is also the name of the rule in {}", one.rule.name, first.file),
                }),
                Some(_) => {}
                None => drop(taken.insert(id, Box::new(one))),
            }
        }
        shelf.written = taken;
        if problems.is_empty() { Ok(shelf) } else { Err(problems) }
    }

    /// Those that are minded here.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// As it is written.
    pub fn written(&self, id: &RuleId) -> Option<&Written> {
        self.written.get(id).map(|written| &**written)
    }

    /// With one of them in another file than it was told.
    #[must_use]
    pub fn kept_in(mut self, id: &RuleId, file: String) -> Self {
        if let Some(one) = self.written.get_mut(id) {
            one.file = file;
        }
        self
    }

    /// One that another proxy minds, with that proxy's name.
    pub fn elsewhere(&self, id: &RuleId) -> Option<(&str, &Rule)> {
        self.elsewhere.iter().find_map(|(proxy, rules)| Some((proxy.as_str(), rules.get(id)?)))
    }

    /// All that other proxies mind, each with its proxy's name.
    pub fn others(&self) -> impl Iterator<Item = (&str, &Rule)> {
        self.elsewhere.iter().flat_map(|(proxy, rules)| rules.iter().map(move |rule| (proxy.as_str(), rule)))
    }

    /// Other proxies that rules name.
    pub fn proxies(&self) -> impl Iterator<Item = &str> {
        self.elsewhere.keys().map(String::as_str)
    }

    /// All that another proxy minds, as they are written.
    pub fn of<'a>(&'a self, proxy: &'a str) -> impl Iterator<Item = &'a RuleFile> {
        let rules = self.elsewhere.get(proxy).into_iter().flat_map(Rules::iter);
        rules.filter_map(|rule| Some(&self.written.get(&rule.id)?.rule))
    }
}

impl Written {
    /// Empty for ours.
    fn proxy(&self, here: &str) -> &str {
        if self.home == Home::Shared || self.rule.proxy_id == here { "" } else { &self.rule.proxy_id }
    }
}

/// What is configured at another proxy is not known here: whatever the rules name may be there.
fn anywhere(files: &[(String, RuleFile)]) -> Surroundings {
    let named = files.iter().map(|(_, rule)| rule.provider.clone());
    Surroundings { providers: named.filter(|name| !name.is_empty()).collect(), tcp_ports: 1..=u16::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::parse;

    fn written(home: Home, file: &str, text: &str) -> Written {
        let text = format!("filter.vm_ids = [\"m\"]\n{text}");
        Written { home, file: file.to_owned(), rule: parse(file, &text).unwrap() }
    }

    fn sort(all: &[(Home, &str)]) -> Result<Shelf, Vec<String>> {
        let around = Surroundings { providers: vec!["lab".to_owned()], tcp_ports: 56000..=56999 };
        let files = all.iter().enumerate();
        let all = files.map(|(at, (home, text))| written(*home, &format!("{at}.toml"), text)).collect();
        let sorted = Shelf::sort(all, "ap-1", &around);
        sorted.map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn rules_go_to_the_proxy_that_they_name() {
        let shelf = sort(&[
            (Home::ByHand, "name='a'\nprovider='lab'"),
            (Home::Given, "name='b'\nprovider='lab'\nproxy_id='ap-1'"),
            (Home::Given, "name='c'\nprovider='theirs'\nproxy_id='ap-2'\n[tcp.ssh]\nconnect_on=2222"),
            (Home::Shared, "name='d'\nprovider='lab'\nproxy_id='ap-3'"),
        ])
        .unwrap();
        let ours: Vec<_> = shelf.rules().iter().map(|rule| rule.name.as_str()).collect();
        assert_eq!(ours, ["a", "b", "d"]);
        assert_eq!(shelf.of("ap-2").map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["c"]);
        assert_eq!(shelf.elsewhere(&RuleId::of("c")).unwrap().0, "ap-2");
        assert_eq!(shelf.written(&RuleId::of("b")).unwrap().home, Home::Given);
        assert_eq!(shelf.proxies().collect::<Vec<_>>(), ["ap-2"]);
    }

    #[test]
    fn what_is_wrong_is_told_wherever_it_is() {
        let problems = sort(&[
            (Home::ByHand, "name='a'\nprovider='theirs'"),
            (Home::Given, "name='b'\nproxy_id='ap-2'\nidle_time='soon'"),
            (Home::Given, "name='c'\nprovider='x'\nproxy_id='ap-2'\ndepends=[{rule='a'}]"),
            (Home::Given, "name='c'\nprovider='x'\nproxy_id='ap-3'"),
        ])
        .unwrap_err();
        let expected = [
            "0.toml: provider: there is no provider `theirs`",
            "1.toml: provider: there is no provider ``",
            "1.toml: idle_time: `soon` is no duration",
            "2.toml: depends[0].rule: there is no rule `a`",
            "3.toml: name: `c` is also the name of the rule in 2.toml",
        ];
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.starts_with(expected), "{problem}");
        }
    }
}
