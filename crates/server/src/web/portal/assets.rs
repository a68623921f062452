//! The style sheet, the script and the icon: three files, compiled in.

use std::sync::LazyLock;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::page::{PageProblem, frame};
use crate::web::WebState;
use crate::web::caller::token;
use crate::web::etag::is_kept;
use crate::web::problem::Problem;

/// How long a browser may keep a file without asking.
const CACHE: &str = "public, max-age=3600";

struct Asset {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
    etag: String,
}

impl Asset {
    /// The tag is weak because the same file also travels compressed.
    fn new(name: &'static str, content_type: &'static str, bytes: &'static [u8]) -> Self {
        let digest = hex::encode(Sha256::digest(bytes));
        Self { name, content_type, bytes, etag: format!("W/\"{}\"", &digest[..16]) }
    }
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        Asset::new("style.css", "text/css; charset=utf-8", include_bytes!("../../../assets/style.css")),
        Asset::new("enhance.js", "text/javascript; charset=utf-8", include_bytes!("../../../assets/enhance.js")),
        Asset::new("favicon.svg", "image/svg+xml", include_bytes!("../../../assets/favicon.svg")),
    ]
});

/// `GET /assets/{file}`.
pub async fn asset(
    State(state): State<WebState>,
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, PageProblem> {
    let name = name.as_ref().map_or("", |Path(name)| name.as_str());
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => Ok(answer(asset, &headers)),
        None => Err(PageProblem::new(Problem::not_found(), frame(&state.app, token(&headers).is_some()))),
    }
}

fn answer(asset: &Asset, headers: &HeaderMap) -> Response {
    let caching = [(header::ETAG, asset.etag.as_str()), (header::CACHE_CONTROL, CACHE)];
    if is_kept(headers, &asset.etag) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(header::CONTENT_TYPE, asset.content_type)], asset.bytes).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_kept_is_not_sent_again() {
        let style = &ASSETS[0];
        let fresh = answer(style, &HeaderMap::new());
        assert_eq!(fresh.status(), StatusCode::OK);
        assert_eq!(fresh.headers()[header::CONTENT_TYPE], "text/css; charset=utf-8");
        assert_eq!(fresh.headers()[header::CACHE_CONTROL], CACHE);
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, fresh.headers()[header::ETAG].clone());
        assert_eq!(answer(style, &headers).status(), StatusCode::NOT_MODIFIED);
    }
}
