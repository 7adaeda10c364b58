//! What administrators write: environments, SDK keys, flags, groups; proxy keys are in their own file.

mod keys;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{delete, get, put},
};
use common::config::Secret;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    answer::Refusal,
    book::{Book, Environment, Place},
    office::{Counts, Office, random},
};
use crate::{
    api::bearer,
    secret::KeyHash,
    shape::{FeatureConfig, Segment, Target},
};

const MOST_BODY_BYTES: usize = 16 << 20;

type Answer = Result<(StatusCode, Json<Value>), Refusal>;
type Desk = State<Arc<Office>>;

pub(super) fn router(office: &Arc<Office>, token: Option<Secret>) -> Router {
    let environment = put(put_environment).get(show).delete(remove_environment);
    Router::new()
        .route("/admin/environments", get(list))
        .route("/admin/environments/{environment}", environment)
        .route("/admin/environments/{environment}/flags/{flag}", put(put_flag).delete(remove_flag))
        .route("/admin/environments/{environment}/segments/{group}", put(put_group).delete(remove_group))
        .route("/admin/environments/{environment}/keys", get(list_keys).post(add_key))
        .route("/admin/environments/{environment}/keys/{hash}", delete(remove_key))
        .route("/admin/environments/{environment}/targets", get(targets))
        .route("/admin/metrics", get(counts))
        .merge(keys::router())
        .layer(DefaultBodyLimit::max(MOST_BODY_BYTES))
        .layer(middleware::from_fn_with_state(token, guard))
        .with_state(Arc::clone(office))
}

/// Whether who asks bears the token, if there is one.
pub(super) fn is_admitted(token: Option<&Secret>, headers: &HeaderMap) -> bool {
    let told = headers.get("x-api-key").map(HeaderValue::as_bytes);
    let told = told.or_else(|| bearer(headers).map(str::as_bytes)).unwrap_or_default();
    token.is_none_or(|token| token.matches(told))
}

async fn guard(State(token): State<Option<Secret>>, request: Request, next: Next) -> Response {
    if is_admitted(token.as_ref(), request.headers()) {
        return next.run(request).await;
    }
    Refusal::new(StatusCode::UNAUTHORIZED, "the token is missing or wrong").into_response()
}

fn nothing() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "not found")
}

fn known<'a>(book: &'a mut Book, id: &str) -> Result<&'a mut Environment, Refusal> {
    book.environments.get_mut(id).ok_or_else(nothing)
}

async fn list(State(office): Desk) -> Json<BTreeMap<String, Place>> {
    let book = office.book();
    Json(book.environments.iter().map(|(id, told)| (id.clone(), told.place.clone())).collect())
}

async fn show(State(office): Desk, Path(id): Path<String>) -> Result<Json<Environment>, Refusal> {
    office.book().environments.get(&id).cloned().map(Json).ok_or_else(nothing)
}

async fn put_environment(State(office): Desk, Path(id): Path<String>, Json(place): Json<Place>) -> Answer {
    let status = office.write(|book| match book.environments.get_mut(&id) {
        Some(environment) => {
            environment.place = place;
            Ok::<_, Refusal>(StatusCode::OK)
        }
        None => {
            let (flags, groups) = (BTreeMap::new(), BTreeMap::new());
            book.environments.insert(id.clone(), Environment { place, keys: BTreeSet::new(), flags, groups });
            Ok(StatusCode::CREATED)
        }
    })?;
    Ok((status, Json(json!({ "id": id }))))
}

async fn remove_environment(State(office): Desk, Path(id): Path<String>) -> Answer {
    office.write(|book| book.environments.remove(&id).map(drop).ok_or_else(nothing))?;
    Ok((StatusCode::OK, Json(json!({}))))
}

async fn put_flag(
    State(office): Desk,
    Path((id, name)): Path<(String, String)>,
    Json(flag): Json<FeatureConfig>,
) -> Answer {
    if flag.feature != name {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "the flag has another name than the path"));
    }
    let version = office.write(|book| {
        known(book, &id)?;
        book.put_flag(&id, flag).map_err(|why| Refusal(StatusCode::BAD_REQUEST, why))
    })?;
    Ok((StatusCode::OK, Json(json!({ "version": version }))))
}

async fn remove_flag(State(office): Desk, Path((id, name)): Path<(String, String)>) -> Answer {
    office.write(|book| book.remove_flag(&id, &name).then_some(()).ok_or_else(nothing))?;
    Ok((StatusCode::OK, Json(json!({}))))
}

async fn put_group(
    State(office): Desk,
    Path((id, name)): Path<(String, String)>,
    Json(group): Json<Segment>,
) -> Answer {
    if group.identifier != name {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "the group has another name than the path"));
    }
    let version = office.write(|book| {
        known(book, &id)?;
        book.put_group(&id, group).map_err(|why| Refusal(StatusCode::BAD_REQUEST, why))
    })?;
    Ok((StatusCode::OK, Json(json!({ "version": version }))))
}

async fn remove_group(State(office): Desk, Path((id, name)): Path<(String, String)>) -> Answer {
    office.write(|book| book.remove_group(&id, &name).then_some(()).ok_or_else(nothing))?;
    Ok((StatusCode::OK, Json(json!({}))))
}

async fn list_keys(State(office): Desk, Path(id): Path<String>) -> Result<Json<BTreeSet<String>>, Refusal> {
    office.book().environments.get(&id).map(|found| Json(found.keys.clone())).ok_or_else(nothing)
}

#[derive(Deserialize)]
struct NewKey {
    /// Made when it is left out.
    key: Option<String>,
}

async fn add_key(State(office): Desk, Path(id): Path<String>, Json(told): Json<NewKey>) -> Answer {
    let key = told.key.map_or_else(random, Ok)?;
    let hash = KeyHash::of(&key).to_string();
    office.write(|book| {
        if book.environments.iter().any(|(other, found)| *other != id && found.keys.contains(&hash)) {
            return Err(Refusal::new(StatusCode::CONFLICT, "the key opens another environment"));
        }
        known(book, &id)?.keys.insert(hash.clone());
        Ok(())
    })?;
    Ok((StatusCode::CREATED, Json(json!({ "key": key, "hash": hash }))))
}

async fn remove_key(State(office): Desk, Path((id, hash)): Path<(String, String)>) -> Answer {
    office.write(|book| known(book, &id)?.keys.remove(&hash).then_some(()).ok_or_else(nothing))?;
    Ok((StatusCode::OK, Json(json!({}))))
}

async fn targets(State(office): Desk, Path(id): Path<String>) -> Result<Json<Vec<Target>>, Refusal> {
    office.book().environments.contains_key(&id).then(|| Json(office.seen(&id))).ok_or_else(nothing)
}

async fn counts(State(office): Desk) -> Json<Counts> {
    Json(office.counts())
}
