//! Style sheets, scripts and the icon: in the binary, and named with what is in them.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::OnceLock,
};

use axum::{
    Router,
    extract::{Path, RawQuery},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};

/// A file in the binary.
#[derive(Debug)]
pub struct Asset {
    /// What it is called, with its extension, which says its media type.
    pub name: &'static str,
    /// What is in it.
    pub content: &'static str,
}

static HOUSE: [Asset; 2] = [
    Asset { name: "house.css", content: include_str!("house.css") },
    Asset { name: "icon.svg", content: include_str!("icon.svg") },
];

/// The files of a daemon's pages, and those of the house.
#[derive(Debug)]
pub struct Assets {
    own: &'static [Asset],
    version: OnceLock<String>,
}

impl Assets {
    /// With these beside those of the house.
    #[must_use]
    pub const fn new(own: &'static [Asset]) -> Self {
        Self { own, version: OnceLock::new() }
    }

    fn all(&self) -> impl Iterator<Item = &'static Asset> {
        HOUSE.iter().chain(self.own)
    }

    /// Changes whenever one of them does, so that a browser keeps them until then.
    pub fn version(&self) -> &str {
        self.version.get_or_init(|| {
            let mut hasher = DefaultHasher::new();
            self.all().for_each(|asset| asset.content.hash(&mut hasher));
            format!("{:016x}", hasher.finish())
        })
    }

    /// The style sheet of the daemon's pages, or that of the house.
    pub(super) fn style(&self) -> &'static str {
        self.own.first().map_or("house.css", |asset| asset.name)
    }

    /// Answers `/{name}?{version}`.
    pub fn routes<S: Clone + Send + Sync + 'static>(&'static self) -> Router<S> {
        let answer = async move |Path(name): Path<String>, RawQuery(query): RawQuery, headers: HeaderMap| {
            self.answer(&name, query.as_deref(), &headers)
        };
        Router::new().route("/{name}", get(answer))
    }

    fn answer(&self, name: &str, query: Option<&str>, headers: &HeaderMap) -> Response {
        let Some(asset) = self.all().find(|asset| asset.name == name) else {
            return (StatusCode::NOT_FOUND, "404: there is no such file.\n").into_response();
        };
        let tag = format!("\"{}\"", self.version());
        let keep =
            if query == Some(self.version()) { "public, max-age=31536000, immutable" } else { "no-cache" };
        let told = [(header::ETAG, tag.as_str()), (header::CACHE_CONTROL, keep)];
        if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
            return (StatusCode::NOT_MODIFIED, told).into_response();
        }
        (told, [(header::CONTENT_TYPE, media_type(asset.name))], asset.content).into_response()
    }
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}
