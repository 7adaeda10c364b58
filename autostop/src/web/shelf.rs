//! The API's part for writing rules: create, read as written, replace, remove.

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{delete, get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    api::{Answer, Failed, RulePath, answer, found},
    proxies::{self, Office},
};
use crate::{
    control::{
        book::{Change, Refused},
        view,
    },
    rule::{Problem, RuleFile, RuleId, from_json},
};

/// A name becomes a part of a file's name.
const MOST_NAME_CHARACTERS: usize = 200;

pub(super) fn router(office: Office) -> Router {
    Router::new()
        .route("/rules", post(create))
        .route("/v2/rules", post(create))
        .route("/rules/{id}", delete(remove))
        .route("/v2/rules/{id}", get(read).put(replace).delete(remove))
        .with_state(office)
}

/// The documented envelope around a rule.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    service: Value,
    #[serde(default)]
    deps: Vec<Dep>,
    /// A rule is in force when it is answered, now or never.
    #[serde(default, rename = "apply_now")]
    _apply_now: bool,
}

/// What the rule depends on, beside what it says itself.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dep {
    #[serde(alias = "rule_id", alias = "rule")]
    dep_id: String,
    #[serde(default, alias = "delay_in_sec")]
    delay_secs: u64,
}

/// The rule that a body tells: in its envelope, or bare.
fn rule_of(body: &str) -> Result<RuleFile, Failed> {
    let bad = |error: serde_json::Error| Failed::Bad(format!("the body is not what is wanted: {error}"));
    let value: Value = serde_json::from_str(body).map_err(bad)?;
    let (service, deps) = if value.get("service").is_some() {
        let told: Told = serde_json::from_value(value).map_err(bad)?;
        (told.service, told.deps)
    } else {
        (value, Vec::new())
    };
    if !service.is_object() {
        return Err(Failed::Bad("a rule is an object with the keys of a rule's file".to_owned()));
    }
    let mut rule =
        from_json("", service).map_err(|problem| problems(StatusCode::BAD_REQUEST, vec![problem]))?;
    rule.depends.extend(
        deps.into_iter()
            .map(|dep| crate::rule::file::Depends { rule: dep.dep_id, delay_in_sec: dep.delay_secs }),
    );
    if rule.name.chars().count() > MOST_NAME_CHARACTERS {
        let message = format!("is longer than {MOST_NAME_CHARACTERS} characters");
        let problem = Problem { file: String::new(), key: "name".to_owned(), message };
        return Err(problems(StatusCode::BAD_REQUEST, vec![problem]));
    }
    Ok(rule)
}

fn problems(status: StatusCode, all: Vec<Problem>) -> Failed {
    let one = |problem: Problem| {
        let told = if problem.file.is_empty() && problem.key.is_empty() {
            problem.message.clone()
        } else if problem.file.is_empty() {
            format!("{}: {}", problem.key, problem.message)
        } else {
            problem.to_string()
        };
        json!({ "key": problem.key, "message": told })
    };
    Failed::Problems(status, all.into_iter().map(one).collect())
}

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        let conflict =
            |message: String| Self::Problems(StatusCode::CONFLICT, vec![json!({ "message": message })]);
        match refused {
            Refused::Exists => conflict("there is a rule of this name already".to_owned()),
            Refused::Unknown => Self::Unknown,
            Refused::ByHand(file) => conflict(format!("the rule is written in {file}: change it there")),
            Refused::Shared => conflict("the rules come from apiURL: change them there".to_owned()),
            Refused::Problems(all) => problems(StatusCode::BAD_REQUEST, all),
            Refused::Others(all) => problems(StatusCode::CONFLICT, all),
            Refused::Disk(error) => {
                let told = json!({ "message": format!("the rule cannot be kept: {error}") });
                Self::Problems(StatusCode::INSUFFICIENT_STORAGE, vec![told])
            }
        }
    }
}

async fn create(State(office): State<Office>, Path(_account): Path<String>, body: String) -> Answer {
    let rule = rule_of(&body)?;
    let id = office.book.change(&office.control, Change::Create(Box::new(rule))).await?;
    tracing::info!(rule = %id, "rule created over the API");
    told(&office, &id).await
}

async fn replace(State(office): State<Office>, Path((_, id)): RulePath, body: String) -> Answer {
    let id = known(&office, &id).await?;
    let mut rule = rule_of(&body)?;
    if rule.name.is_empty() {
        rule.name = office.book.shelf().written(&id).map(|one| one.rule.name.clone()).unwrap_or_default();
    }
    if RuleId::of(&rule.name) != id {
        let told = "name: a rule keeps its name, which its state and its ports go by; create another and remove this";
        return Err(Failed::Bad(told.to_owned()));
    }
    let id = office.book.change(&office.control, Change::Replace(id, Box::new(rule))).await?;
    tracing::info!(rule = %id, "rule changed over the API");
    told(&office, &id).await
}

async fn remove(State(office): State<Office>, Path((_, id)): RulePath) -> Answer {
    let id = known(&office, &id).await?;
    let id = office.book.change(&office.control, Change::Remove(id)).await?;
    tracing::info!(rule = %id, "rule removed over the API");
    Ok(answer(json!({ "id": id })))
}

async fn read(State(office): State<Office>, Path((_, id)): RulePath) -> Answer {
    let id = known(&office, &id).await?;
    told(&office, &id).await
}

/// A rule goes by its id, and by its name, and may be another proxy's.
async fn known(office: &Office, told: &str) -> Result<RuleId, Failed> {
    if let Some(id) = found(&office.control, told).await? {
        return Ok(id);
    }
    let shelf = office.book.shelf();
    let id = RuleId::of(told);
    shelf.written(&id).map(|_| id).ok_or(Failed::Unknown)
}

/// How it is, and beside that how it is written.
async fn told(office: &Office, id: &RuleId) -> Answer {
    let shelf = office.book.shelf();
    let written = shelf.written(id).ok_or(Failed::Unknown)?;
    let rule = id.clone();
    let seen = office.control.look(move |asked| view::rule(asked, &rule)).await?;
    let mut told = match (seen, shelf.elsewhere(id)) {
        (Some(seen), _) => serde_json::to_value(seen).unwrap_or_default(),
        (None, Some((proxy, rule))) => proxies::seen(&office.fleet, proxy, rule),
        (None, None) => {
            let told =
                json!({ "message": "the rule is kept, and is in force once the journal can be written" });
            return Err(Failed::Problems(StatusCode::SERVICE_UNAVAILABLE, vec![told]));
        }
    };
    if let Some(told) = told.as_object_mut() {
        told.insert("service".to_owned(), json!(written.rule));
        told.insert("file".to_owned(), json!(written.file));
    }
    Ok(answer(told))
}
