//! The page, as it is in `src/ui/`.
use std::sync::Arc;

use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};

use crate::gateway::Shared;

macro_rules! files {
    ($($path:literal: $kind:literal = $file:literal),* $(,)?) => {
        /// The page's files, by path.
        pub(super) fn routes() -> Router<Arc<Shared>> {
            Router::new()
                $(.route($path, get(async || ([
                    (header::CONTENT_TYPE, $kind),
                    // A newer server may have a newer page.
                    (header::CACHE_CONTROL, "no-cache"),
                ], &include_bytes!(concat!("../ui/", $file))[..]))))*
                // Browsers ask for it whatever the page says.
                .route("/favicon.ico", get(async || StatusCode::NO_CONTENT.into_response()))
        }
    };
}

files! {
    "/": "text/html; charset=utf-8" = "index.html",
    "/views": "text/html; charset=utf-8" = "views.html",
    "/views.css": "text/css; charset=utf-8" = "views.css",
    "/views.js": "text/javascript; charset=utf-8" = "views.js",
    "/columns.js": "text/javascript; charset=utf-8" = "columns.js",
    "/plot.js": "text/javascript; charset=utf-8" = "plot.js",
    "/scale.js": "text/javascript; charset=utf-8" = "scale.js",
    "/table.js": "text/javascript; charset=utf-8" = "table.js",
    "/style.css": "text/css; charset=utf-8" = "style.css",
    "/app.js": "text/javascript; charset=utf-8" = "app.js",
    "/captions.js": "text/javascript; charset=utf-8" = "captions.js",
    "/library.js": "text/javascript; charset=utf-8" = "library.js",
    "/meter.js": "text/javascript; charset=utf-8" = "meter.js",
    "/sources.js": "text/javascript; charset=utf-8" = "sources.js",
    "/stream.js": "text/javascript; charset=utf-8" = "stream.js",
    "/worklet.js": "text/javascript; charset=utf-8" = "worklet.js",
    "/icon.svg": "image/svg+xml" = "icon.svg",
}
