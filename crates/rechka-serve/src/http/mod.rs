//! HTTP: the routes, and what all of them have in common.
mod audio;
mod events;
mod export;
mod guard;
mod health;
mod page;
mod sessions;
mod views;
mod wav;

pub use export::speech_segment;

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::{State, WebSocketUpgrade},
    http::{HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;

use crate::{gateway::Shared, server::Place, stream};

/// All routes.
pub(crate) fn routes(shared: Arc<Shared>) -> Router {
    Router::new()
        .merge(page::routes())
        .route("/v1/stream", get(open_stream))
        .route("/v1/sessions", get(sessions::list))
        .route("/v1/sessions/{session}", get(sessions::one))
        .route("/v1/sessions/{session}/audio", get(audio::audio))
        .route("/v1/sessions/{session}/events", get(events::events))
        .route("/v1/views", get(views::list))
        .route("/v1/views/{name}", get(views::rows))
        .route("/v1/views/{name}/changes", get(views::changes))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .fallback(async || Problem::not_found("there is nothing at this address: the page is at /, the API under /v1/"))
        .layer(middleware::from_fn_with_state(shared.clone(), guard::guard))
        .with_state(shared)
}

async fn open_stream(
    State(shared): State<Arc<Shared>>,
    Extension(place): Extension<Place>,
    upgrade: WebSocketUpgrade,
) -> Response {
    // Messages somewhat too large are read, to be refused in words; far larger ones are cut off.
    let largest = shared.config.limits.message_bytes.saturating_mul(4);
    let upgrade = upgrade.max_message_size(largest).max_frame_size(largest);
    upgrade.on_upgrade(async move |socket| {
        stream::serve(socket, shared).await;
        drop(place);
    })
}

/// An error as JSON: what programs tell errors apart by, and what people read.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub fn no_session(session: &str) -> Self {
        let session: String = session.chars().take(64).collect();
        Self::not_found(format!("there is no session {session:?}: /v1/sessions lists them"))
    }
}

impl From<rechka_log::LogError> for Problem {
    fn from(error: rechka_log::LogError) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "log", error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({"error": {"code": self.code, "message": self.message}}).to_string();
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            let soon = HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, soon);
        }
        response
    }
}

/// Something as JSON.
pub(crate) fn json_response(value: &impl serde::Serialize) -> Response {
    // Strings, numbers and structs always have a JSON form.
    let body = serde_json::to_string(value).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
