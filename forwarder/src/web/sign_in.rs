//! Signing in with the token, and out again.

use askama::Template;
use axum::extract::{Form, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use common::door::own_path;
use serde::Deserialize;

use super::{Frame, SIGN, Web, page};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignIn {
    frame: Frame,
    to: String,
    is_wrong: bool,
}

/// `GET /sign-in`
pub(super) async fn form(State(web): State<Web>, RawQuery(query): RawQuery) -> Response {
    let mut told = url::form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes());
    let to = told.find(|(name, _)| name == "to").map(|(_, to)| own_path(&to, SIGN.home).to_owned());
    let to = to.unwrap_or_else(|| "/".to_owned());
    if !web.door.asks() {
        return Redirect::to(&to).into_response();
    }
    page(StatusCode::OK, &SignIn { frame: web.frame("sign-in"), to, is_wrong: false })
}

/// What the form sends.
#[derive(Deserialize)]
pub(super) struct Told {
    token: String,
    #[serde(default)]
    to: String,
}

/// `POST /sign-in`
pub(super) async fn sign_in(State(web): State<Web>, Form(told): Form<Told>) -> Response {
    let to = own_path(&told.to, SIGN.home).to_owned();
    match web.door.sign_in(&told.token) {
        Ok(Some(cookie)) => ([(header::SET_COOKIE, cookie)], Redirect::to(&to)).into_response(),
        Ok(None) => {
            page(StatusCode::UNAUTHORIZED, &SignIn { frame: web.frame("sign-in"), to, is_wrong: true })
        }
        Err(error) => {
            tracing::error!(%error, "session cannot be opened");
            web.message(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Signing in failed",
                "The system has no random bytes for a session.",
            )
        }
    }
}

/// `POST /sign-out`
pub(super) async fn sign_out(State(web): State<Web>, headers: HeaderMap) -> Response {
    ([(header::SET_COOKIE, web.door.sign_out(&headers))], Redirect::to("/sign-in")).into_response()
}
