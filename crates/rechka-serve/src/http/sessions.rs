//! Sessions and their text.
use std::sync::Arc;

use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use rechka_types::Transcript;
use serde::{Deserialize, Serialize};

use super::{
    Problem,
    export::{Format, download},
    json_response,
};
use crate::{
    gateway::Shared,
    transcripts::{Summary, read_segments},
};

/// Most sessions on one page of the list.
const LONGEST_PAGE: usize = 200;

/// Which part of the list.
#[derive(Debug, Deserialize)]
pub(crate) struct Page {
    /// How many.
    #[serde(default = "default_limit")]
    limit: usize,
    /// `next` of the page before.
    before: Option<String>,
}

fn default_limit() -> usize {
    50
}

#[derive(Serialize)]
struct List {
    sessions: Vec<Summary>,
    /// What to ask for next, as `before`; absent: that was all.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    model: String,
}

/// The list, newest first.
pub(crate) async fn list(State(shared): State<Arc<Shared>>, Query(page): Query<Page>) -> Result<Response, Problem> {
    let limit = page.limit.clamp(1, LONGEST_PAGE);
    let before = match &page.before {
        None => None,
        Some(cursor) => Some(
            cursor
                .split_once('~')
                .and_then(|(created, session)| Some((created.parse().ok()?, session)))
                .ok_or_else(|| Problem::bad_request("\"before\" must be \"next\" of the page before"))?,
        ),
    };
    let sessions = shared.catalog.list(limit, before);
    let next = sessions.last().filter(|_| sessions.len() == limit);
    Ok(json_response(&List {
        next: next.map(|last| format!("{}~{}", last.created, last.session)),
        sessions,
        model: shared.config.model.clone(),
    }))
}

#[derive(Serialize)]
struct Session {
    #[serde(flatten)]
    summary: Summary,
    transcripts: Vec<Transcript>,
    truncated: bool,
}

/// A session with its segments; with `.srt`, `.vtt`, `.txt` or `.json` behind its name, its text as a file.
pub(crate) async fn one(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Result<Response, Problem> {
    let suffix = name
        .rsplit_once('.')
        .and_then(|(session, suffix)| Some((session, Format::parse(suffix)?)));
    let (session, format) = match suffix {
        Some((session, format)) => (session, Some(format)),
        None => (name.as_str(), None),
    };
    let stored = shared
        .catalog
        .stored(session)
        .ok_or_else(|| Problem::no_session(session))?;
    let partition = shared.catalog.partition(session);
    let read = read_segments(&shared.library, partition, session, stored.segments_at).await?;
    Ok(match format {
        Some(format) => download(format, &stored.summary, &read.segments),
        None => json_response(&Session {
            summary: stored.summary,
            transcripts: read.segments,
            truncated: read.truncated,
        }),
    })
}
