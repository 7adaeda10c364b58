//! `/admin/proxy/keys`: makes, lists, shows, changes, rotates and deletes proxy keys.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Desk, nothing};
use crate::{
    saas::{
        answer::Refusal,
        book::Book,
        office::{Office, random},
        proxykey::{Organization, ProxyKey},
    },
    secret::KeyHash,
};

pub(super) fn router() -> Router<Arc<Office>> {
    let one = get(show).patch(change).delete(remove);
    Router::new()
        .route("/admin/proxy/keys", get(list).post(create))
        .route("/admin/proxy/keys/{identifier}", one)
}

#[derive(Deserialize)]
struct New {
    name: String,
    identifier: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    organizations: BTreeMap<String, Organization>,
}

async fn create(State(office): Desk, Json(new): Json<New>) -> Answer {
    let (key, now) = (random()?, office.now_ms());
    office.write(|book| {
        if new.identifier.is_empty() {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "it has no identifier"));
        }
        if book.proxy_keys.contains_key(&new.identifier) {
            return Err(Refusal::new(StatusCode::CONFLICT, "there is a key of this identifier"));
        }
        let made = ProxyKey {
            identifier: new.identifier.clone(),
            name: new.name,
            description: new.description,
            created_at: now,
            updated_at: now,
            version: 1,
            organizations: new.organizations,
            hash: KeyHash::of(&key).to_string(),
            older: BTreeMap::new(),
        };
        book.proxy_keys.insert(new.identifier, made);
        Ok(())
    })?;
    Ok((StatusCode::CREATED, Json(json!({ "key": key }))))
}

/// Never its value, and no hash of it.
fn told(key: &ProxyKey) -> Value {
    json!({
        "id": key.identifier,
        "identifier": key.identifier,
        "name": key.name,
        "description": key.description,
        "createdAt": key.created_at,
        "updatedAt": key.updated_at,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Page {
    name: String,
    sort_order: String,
    sort_by_field: String,
    page_number: usize,
    page_size: usize,
}

impl Default for Page {
    fn default() -> Self {
        let (name, sort_order, sort_by_field) = Default::default();
        Self { name, sort_order, sort_by_field, page_number: 0, page_size: 50 }
    }
}

async fn list(State(office): Desk, Query(page): Query<Page>) -> Json<Value> {
    let book = office.book();
    let mut found: Vec<&ProxyKey> =
        book.proxy_keys.values().filter(|key| key.name.contains(&page.name)).collect();
    match page.sort_by_field.as_str() {
        "createdAt" => found.sort_by_key(|key| key.created_at),
        "updatedAt" => found.sort_by_key(|key| key.updated_at),
        _ => found.sort_by(|one, other| one.name.cmp(&other.name)),
    }
    if page.sort_order.starts_with("DESC") {
        found.reverse();
    }
    let size = page.page_size.clamp(1, 1000);
    let shown = found.iter().skip(page.page_number.saturating_mul(size)).take(size);
    Json(json!({
        "itemCount": found.len(),
        "pageCount": found.len().div_ceil(size),
        "pageIndex": page.page_number,
        "pageSize": size,
        "proxyKeys": shown.map(|key| told(key)).collect::<Vec<_>>(),
    }))
}

async fn show(State(office): Desk, Path(identifier): Path<String>) -> Result<Json<Value>, Refusal> {
    let book = office.book();
    let key = book.proxy_keys.get(&identifier).ok_or_else(nothing)?;
    let mut told = told(key);
    if let Value::Object(told) = &mut told {
        told.insert("organizations".to_owned(), json!(key.organizations));
        told.insert("version".to_owned(), key.version.into());
    }
    Ok(Json(told))
}

#[derive(Deserialize)]
struct Patch {
    instructions: Instructions,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Instructions {
    /// How many hours the old value stays good; empty or 0 for none.
    rotate_key: Option<String>,
    update_config: Option<Update>,
    update_name: Option<String>,
    update_description: Option<String>,
}

#[derive(Deserialize)]
struct Update {
    organizations: BTreeMap<String, Organization>,
    version: u64,
}

async fn change(State(office): Desk, Path(identifier): Path<String>, Json(patch): Json<Patch>) -> Answer {
    let asked = patch.instructions;
    let hours = match asked.rotate_key.as_deref().map(str::trim) {
        None => None,
        Some("") => Some(0),
        Some(told) => Some(told.parse::<u64>().map_err(|_| {
            Refusal::new(StatusCode::BAD_REQUEST, "rotateKey is a number of hours, or empty")
        })?),
    };
    let (new, now) = (random()?, office.now_ms());
    office.write(|book: &mut Book| {
        let key = book.proxy_keys.get_mut(&identifier).ok_or_else(nothing)?;
        if let Some(update) = asked.update_config {
            if update.version != key.version + 1 {
                return Err(Refusal::new(StatusCode::CONFLICT, "version is not the next one"));
            }
            key.organizations = update.organizations;
            key.version = update.version;
        }
        if let Some(name) = asked.update_name {
            key.name = name;
        }
        if let Some(description) = asked.update_description {
            key.description = description;
        }
        if let Some(hours) = hours {
            key.rotate(&new, hours, now);
        }
        key.updated_at = now;
        Ok(())
    })?;
    Ok((StatusCode::OK, Json(if hours.is_some() { json!({ "key": new }) } else { json!({}) })))
}

async fn remove(State(office): Desk, Path(identifier): Path<String>) -> Answer {
    office.write(|book: &mut Book| {
        let key = book.proxy_keys.remove(&identifier).ok_or_else(nothing)?;
        book.deleted_keys.insert(key.hash);
        book.deleted_keys.extend(key.older.into_keys());
        Ok::<_, Refusal>(())
    })?;
    Ok((StatusCode::OK, Json(json!({}))))
}
