//! Signing in with the token, and out again.

use askama::Template;
use axum::{
    Form, Router,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
    routing::{get, post},
};
use serde::Deserialize;

use super::{Door, own_path};
use crate::pages::{Frame, render};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    frame: Frame,
    reason: &'static str,
    setting: &'static str,
    action: &'static str,
    to: String,
    is_wrong: bool,
}

impl SignIn {
    fn at(door: &Door, to: String, is_wrong: bool) -> Self {
        let sign = door.sign;
        let (reason, setting, action) = (sign.reason, sign.setting, sign.sign_in);
        Self { frame: door.frame("sign-in"), reason, setting, action, to, is_wrong }
    }
}

/// What the form sends.
#[derive(Deserialize)]
struct Told {
    token: String,
    #[serde(default)]
    to: String,
}

/// The pages that open and close a session, under the paths on the sign.
pub(super) fn routes(door: Door) -> Router {
    Router::new()
        .route(door.sign.sign_in, get(form).post(sign_in))
        .route(door.sign.sign_out, post(sign_out))
        .with_state(door)
}

async fn form(State(door): State<Door>, RawQuery(query): RawQuery) -> Response {
    let home = door.sign.house.home;
    let mut told = url::form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes());
    let to = told.find(|(name, _)| name == "to").map(|(_, to)| own_path(&to, home).to_owned());
    let to = to.unwrap_or_else(|| home.to_owned());
    if !door.asks() {
        return Redirect::to(&to).into_response();
    }
    render(StatusCode::OK, &SignIn::at(&door, to, false))
}

async fn sign_in(State(door): State<Door>, Form(told): Form<Told>) -> Response {
    let to = own_path(&told.to, door.sign.house.home).to_owned();
    match door.open(&told.token) {
        Ok(Some(cookie)) => ([(header::SET_COOKIE, cookie)], Redirect::to(&to)).into_response(),
        Ok(None) => render(StatusCode::UNAUTHORIZED, &SignIn::at(&door, to, true)),
        Err(error) => {
            tracing::error!(%error, "session cannot be opened");
            let told = "500: the system has no random bytes for a session.\n";
            (StatusCode::INTERNAL_SERVER_ERROR, told).into_response()
        }
    }
}

async fn sign_out(State(door): State<Door>, headers: HeaderMap) -> Response {
    ([(header::SET_COOKIE, door.close(&headers))], Redirect::to(door.sign.sign_in)).into_response()
}
