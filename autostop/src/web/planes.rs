//! `/dashboard/planes`: the data planes and the links to them.

use askama::Template;
use axum::{
    extract::{Form, State},
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use serde::Deserialize;
use tokio::sync::oneshot;

use common::pages::render;

use super::{
    Frame, Web,
    figures::{When, when},
    others::{self, Other},
    shown,
};
use crate::control::{Input, view};

/// One plane.
struct Plane {
    /// As it is sent back.
    name: String,
    shown: String,
    attached: bool,
    since: Option<When>,
    version: String,
    /// Ports on which it cannot listen, and why.
    deaf: Vec<(u32, String)>,
}

#[derive(Template)]
#[template(path = "planes.html")]
struct Planes {
    frame: Frame,
    trouble: Option<String>,
    planes: Vec<Plane>,
    others: Vec<Other>,
}

/// `GET /dashboard/planes`
pub(super) async fn page(State(web): State<Web>) -> Response {
    let Ok(seen) = web.control.look(view::overview).await else { return web.stopping() };
    let planes = seen.planes.into_iter().map(|plane| Plane {
        shown: shown(&plane.name),
        attached: plane.attached,
        since: plane.since.map(|since| when(since, seen.now)),
        version: plane.version.as_deref().map(shown).unwrap_or_default(),
        deaf: plane
            .deaf
            .unwrap_or_default()
            .into_iter()
            .map(|deaf| (deaf.port, shown(&deaf.error)))
            .collect(),
        name: plane.name,
    });
    let trouble = seen.trouble.as_deref().map(shown);
    let others = others::all(&web.book.shelf(), &web.fleet, seen.now);
    let (frame, planes) = (web.frame("planes"), planes.collect());
    render(StatusCode::OK, &Planes { frame, trouble, planes, others })
}

/// What the form sends.
#[derive(Deserialize)]
pub(super) struct Told {
    plane: String,
}

/// `POST /dashboard/planes/forget`
pub(super) async fn forget(State(web): State<Web>, Form(told): Form<Told>) -> Response {
    let (reply, done) = oneshot::channel();
    tracing::info!(plane = told.plane.escape_debug().to_string(), "forgetting asked for on the dashboard");
    if web.control.tell(Input::Forget(told.plane.into(), reply)).await.is_err() {
        return web.stopping();
    }
    match done.await {
        Ok(true) => Redirect::to("/dashboard/planes").into_response(),
        Ok(false) => {
            let text = "Only a plane that is known and away can be forgotten.";
            web.message(StatusCode::CONFLICT, "That cannot be done now", text)
        }
        Err(_) => web.stopping(),
    }
}
