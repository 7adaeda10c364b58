//! What pages of the house have in common: the frame around them, their files, and how they become answers.
//!
//! A daemon names `../common/templates` in its `askama.toml` and lets its pages extend `house.html`.

mod assets;

use askama::Template;
use axum::{
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};

pub use self::assets::{Asset, Assets};

/// Whose pages they are.
#[derive(Debug)]
pub struct House {
    /// What the brand says after the name of the house: `Analyzer`.
    pub product: &'static str,
    /// The path of the first page.
    pub home: &'static str,
    /// The path under which the files are.
    pub folder: &'static str,
    /// The files. The first of them is the style sheet of the pages.
    pub assets: Assets,
}

/// What every page shows around its content.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The page, as the navigation has it.
    pub at: &'static str,
    /// Whose page it is.
    pub house: &'static House,
    /// Whose installation it is: a word for it, and its name.
    pub whose: Option<(&'static str, String)>,
    /// Where a form that signs out goes, if there is anything to sign out of.
    pub sign_out: Option<&'static str>,
}

impl Frame {
    /// The address of one of the files, which changes with its content.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        format!("{}/{name}?{}", self.house.folder, self.house.assets.version())
    }

    /// The address of the style sheet of the pages.
    #[must_use]
    pub fn style(&self) -> String {
        self.file(self.house.assets.style())
    }
}

/// A page as an answer.
pub fn render(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "page cannot be rendered");
            (StatusCode::INTERNAL_SERVER_ERROR, "500: the page cannot be rendered.\n").into_response()
        }
    }
}
