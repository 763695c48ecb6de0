//! What is heard in a session, as server-sent events.
use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use axum::{
    extract::{Path, State},
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::stream;

use super::Problem;
use crate::{
    gateway::Shared,
    protocol::ServerMessage,
    transcripts::{Heard, Subscription},
};

/// How long a browser waits before it connects again.
const RETRY: Duration = Duration::from_secs(2);

/// A listener; dropped when it goes.
struct Listener {
    subscription: Subscription,
    shared: Arc<Shared>,
    done: bool,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shared.metrics.listeners.fetch_sub(1, Relaxed);
    }
}

/// Partials and finals of a session as events `partial`, `final`, `end`; a final's id is its segment, so that a browser that was
/// cut off goes on where it was (`Last-Event-ID`).
pub(crate) async fn events(
    State(shared): State<Arc<Shared>>,
    Path(session): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if shared.catalog.stored(&session).is_none() {
        return Err(Problem::no_session(&session));
    }
    let seen = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.parse().ok());
    shared.metrics.listeners.fetch_add(1, Relaxed);
    let listener = Listener {
        subscription: shared.subscribe(&session, seen),
        shared,
        done: false,
    };
    let events = stream::unfold(listener, |mut listener| async move {
        let event = next(&mut listener).await?;
        Some((Ok::<_, Infallible>(event), listener))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

async fn next(listener: &mut Listener) -> Option<Event> {
    if listener.done {
        return None;
    }
    let mut stopping = listener.shared.stopping.clone();
    let heard = tokio::select! {
        heard = listener.subscription.next() => heard.ok()?,
        () = stopping.wait() => return None,
    };
    listener.shared.metrics.events.fetch_add(1, Relaxed);
    let event = match &heard {
        Heard::Partial(partial) => Event::default()
            .event("partial")
            .data(ServerMessage::Partial(partial).to_json()),
        Heard::Final(segment) => Event::default()
            .event("final")
            .id(segment.segment.to_string())
            .data(ServerMessage::Final(segment).to_json()),
        Heard::End(seconds) => {
            listener.done = true;
            let end = ServerMessage::End { seconds: *seconds };
            Event::default().event("end").data(end.to_json())
        }
    };
    Some(event.retry(RETRY))
}
