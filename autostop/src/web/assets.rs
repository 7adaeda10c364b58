//! The style sheet, the script and the icon: in the binary, and named with what is in them.

use std::sync::LazyLock;

use axum::extract::{Path, RawQuery};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

struct Asset {
    name: &'static str,
    media_type: &'static str,
    content: &'static str,
}

static ASSETS: [Asset; 3] = [
    Asset {
        name: "dashboard.css",
        media_type: "text/css; charset=utf-8",
        content: include_str!("assets/dashboard.css"),
    },
    Asset {
        name: "dashboard.js",
        media_type: "text/javascript; charset=utf-8",
        content: include_str!("assets/dashboard.js"),
    },
    Asset { name: "icon.svg", media_type: "image/svg+xml", content: include_str!("assets/icon.svg") },
];

/// Changes whenever one of them does.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = crc32fast::Hasher::new();
    ASSETS.iter().for_each(|asset| hasher.update(asset.content.as_bytes()));
    format!("{:08x}", hasher.finalize())
});

/// What stands behind their names, so that a browser keeps them until they change.
pub(super) fn version() -> &'static str {
    &VERSION
}

/// `/assets/{name}?{version}`.
pub(super) async fn asset(
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return (StatusCode::NOT_FOUND, "404: there is no such file.\n").into_response();
    };
    let tag = format!("\"{}\"", version());
    let keep =
        if query.as_deref() == Some(version()) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let told = [(header::ETAG, tag.as_str()), (header::CACHE_CONTROL, keep)];
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    if known {
        return (StatusCode::NOT_MODIFIED, told).into_response();
    }
    (told, [(header::CONTENT_TYPE, asset.media_type)], asset.content).into_response()
}
