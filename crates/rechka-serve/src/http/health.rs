//! Whether the gateway is well, and what it counts.
use std::sync::Arc;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use crate::gateway::Shared;

/// The process answers.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Everything that a session needs is there.
pub(crate) async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let ingest = if shared.stopping.is_now() {
        Err("the gateway is stopping".to_owned())
    } else if !shared.ingest().is_some_and(|ingest| ingest.is_running()) {
        Err("the thread that stores audio has ended".to_owned())
    } else if shared.metrics.is_failing() {
        Err("the last audio could not be stored".to_owned())
    } else {
        Ok(())
    };
    let views = shared.views.list().iter().try_for_each(|view| view.check());
    let views = views.map_err(|error| error.to_string());
    let own = [
        ("log", ingest),
        ("transcripts", shared.follower.ready()),
        ("views", views),
    ];
    let others = shared.probes.iter().map(|probe| (probe.name(), probe.ready()));
    let mut checks = Map::new();
    let mut ready = true;
    for (name, state) in own.into_iter().chain(others) {
        ready &= state.is_ok();
        let text = state.err().unwrap_or_else(|| "ok".to_owned());
        checks.insert(name.to_owned(), Value::String(text));
    }
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({"ready": ready, "checks": checks}).to_string();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Prometheus' text.
pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let mut text = shared.metrics.text();
    text.push_str(&crate::views::metrics(&shared.views));
    for probe in shared.probes.iter() {
        probe.metrics(&mut text);
    }
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text,
    )
        .into_response()
}
