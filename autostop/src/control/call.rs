//! A machine's call, made to the provider, and the provider's answer in the words of the machine.

use std::{sync::Arc, time::Duration};

use tokio::time;

use crate::{
    machine::{Outcome, Status, Verb},
    provider::{self, Fault, Stop, Target, batch::Caller},
    rule::{IdleAction, Rule},
};

/// What a provider is told of a rule's target.
pub fn target(rule: &Rule) -> Target {
    let mut params = rule.params.clone();
    let mut tell = |name: &str, value: serde_json::Value| {
        if !matches!(&value, serde_json::Value::Null) && value != "" {
            params.insert(name.to_owned(), value);
        }
    };
    if !rule.filter.tags.is_empty() {
        tell("tags", serde_json::json!(rule.filter.tags));
    }
    if !rule.filter.regions.is_empty() {
        tell("regions", serde_json::json!(rule.filter.regions));
    }
    if !rule.filter.zones.is_empty() {
        tell("zones", serde_json::json!(rule.filter.zones));
    }
    for (name, told) in [
        ("scale_group", serde_json::to_value(&rule.scale_group)),
        ("container", serde_json::to_value(&rule.container)),
        ("database", serde_json::to_value(&rule.database)),
    ] {
        tell(name, told.unwrap_or_default());
    }
    let mut ids: Vec<_> = rule.resource_ids().map(str::to_owned).collect();
    if ids.is_empty() {
        // One name that stands for all that have these tags.
        let tags: Vec<_> = rule.filter.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        ids.push(format!("tags:{}", tags.join(",")));
    }
    let kind = serde_json::to_value(rule.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned));
    Target { kind: kind.unwrap_or_default(), ids, params }
}

/// How a rule's target is put to sleep.
pub fn how(rule: &Rule) -> Stop {
    match rule.idle_action {
        IdleAction::Shutdown => Stop::Shutdown,
        IdleAction::Hibernate => Stop::Hibernate,
    }
}

/// Makes the call; it is dead after `within`.
pub async fn call(
    caller: Option<Caller>,
    target: Arc<Target>,
    verb: Verb,
    how: Stop,
    within: Duration,
) -> Outcome {
    let Some(caller) = caller else {
        return Outcome::Failed("its provider is not configured any more".to_owned());
    };
    let called = async {
        match verb {
            Verb::Start => ordered(caller.start(&target).await),
            Verb::Stop => ordered(caller.stop(&target, how).await),
            Verb::Status => match caller.describe(&target).await {
                Ok(seen) => sighted(&seen),
                Err(error) => failed(&error),
            },
        }
    };
    time::timeout(within, called).await.unwrap_or(Outcome::Lost)
}

fn ordered(answer: Result<(), provider::Error>) -> Outcome {
    match answer {
        Ok(()) => Outcome::Accepted,
        Err(error) => failed(&error),
    }
}

fn failed(error: &provider::Error) -> Outcome {
    match error.fault {
        Fault::Busy => Outcome::Changing,
        Fault::Timeout | Fault::Interrupted => Outcome::Lost,
        _ => Outcome::Failed(error.to_string()),
    }
}

fn sighted(seen: &provider::Sightings) -> Outcome {
    let addresses: Vec<_> = seen.values().flat_map(|seen| seen.addresses.iter().cloned()).collect();
    let status = match provider::summary(seen) {
        provider::Status::Stopped => Status::Stopped,
        provider::Status::Starting => Status::Starting,
        provider::Status::Running => Status::Running,
        provider::Status::Stopping => Status::Stopping,
        provider::Status::Missing => return Outcome::Failed("it does not exist".to_owned()),
        provider::Status::Unknown => {
            let reason = seen.values().find_map(|seen| seen.reason.clone());
            let unknown = || "the provider cannot tell how it is".to_owned();
            return Outcome::Failed(reason.unwrap_or_else(unknown));
        }
    };
    Outcome::Seen(status, addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        provider::Seen,
        rule::{Surroundings, check, parse},
    };

    fn rule(text: &str) -> Rule {
        let around = Surroundings { providers: vec!["lab".to_owned()], tcp_ports: 56000..=56999 };
        let file = parse("a", &format!("name = \"a\"\nprovider = \"lab\"\n{text}")).unwrap();
        check(&[("a".to_owned(), file)], &around).unwrap().iter().next().unwrap().clone()
    }

    #[test]
    fn all_that_a_rule_says_of_its_target_gets_to_the_provider() {
        let text = "kind = \"database\"\nidle_action = \"hibernate\"\ndatabase = { id = \"db\", region = \"eu-west-1\" }\n\
                    [params]\nnetwork = \"lan\"\nport = 80\ndeep = { list = [1.5, true] }\n";
        let rule = rule(text);
        let told = serde_json::to_value(target(&rule)).unwrap();
        let expected = serde_json::json!({
            "kind": "database", "ids": ["db"],
            "params": {
                "database": { "id": "db", "region": "eu-west-1" },
                "network": "lan", "port": 80, "deep": { "list": [1.5, true] },
            },
        });
        assert_eq!(told, expected);
        assert_eq!(how(&rule), Stop::Hibernate);
    }

    #[test]
    fn tags_stand_for_what_has_them() {
        let rule = rule("filter = { tags = { team = \"core\", env = \"dev\" }, regions = [\"eu-west-1\"] }");
        let told = target(&rule);
        assert_eq!(told.ids, ["tags:env=dev,team=core"]);
        assert_eq!(told.params["tags"], serde_json::json!({ "env": "dev", "team": "core" }));
        assert_eq!(how(&rule), Stop::Shutdown);
    }

    #[test]
    fn a_provider_that_cannot_tell_is_no_sighting() {
        let seen = |status| [("a".to_owned(), Seen::of(status))].into_iter().collect();
        assert_eq!(sighted(&seen(provider::Status::Running)), Outcome::Seen(Status::Running, Vec::new()));
        assert!(matches!(sighted(&seen(provider::Status::Missing)), Outcome::Failed(_)));
        assert!(matches!(sighted(&seen(provider::Status::Unknown)), Outcome::Failed(_)));
        assert_eq!(failed(&Fault::Busy.said("")), Outcome::Changing);
        assert_eq!(failed(&Fault::Interrupted.said("")), Outcome::Lost);
        assert!(matches!(failed(&Fault::NoCapacity.said("")), Outcome::Failed(_)));
    }
}
