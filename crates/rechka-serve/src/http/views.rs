//! Views: what there is, rows, and what changes in them.
use std::{convert::Infallible, sync::Arc, time::Duration};

use arrow::{
    datatypes::{DataType, TimeUnit},
    error::ArrowError,
    ipc::writer::StreamWriter,
};
use axum::{
    Extension,
    body::Body,
    extract::{Path, Query, State, WebSocketUpgrade, ws::rejection::WebSocketUpgradeRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use bytes::Bytes;
use futures_util::stream;
use rechka_store::{Filter, Position, Row, StoreError, View};
use serde::Serialize;

use super::{Problem, json_response};
use crate::{
    gateway::Shared,
    server::Place,
    views::{self, Listener},
};

/// Rows of an answer, unless more are asked for.
const PAGE: usize = 1000;
/// Rows of one piece of an answer.
const PIECE: usize = 256;
/// A listener has nothing to say: what comes is read, but not kept.
const LARGEST_MESSAGE: usize = 16 * 1024;
/// How long a browser waits before it connects again.
const RETRY: Duration = Duration::from_secs(2);
/// The media type of an Arrow IPC stream, as registered with IANA.
const ARROW: &str = "application/vnd.apache.arrow.stream";
/// Says that there are more rows than were asked for.
const MORE: &str = "rechka-more";

#[derive(Serialize)]
struct List {
    views: Vec<Summary>,
}

#[derive(Serialize)]
struct Summary {
    name: String,
    columns: Vec<Column>,
    /// The key columns, in the order of the schema.
    key: Vec<String>,
    rows: usize,
    bytes: usize,
    subscribers: usize,
    /// Records that are not shown yet.
    lag: u64,
    ready: bool,
    /// Why it can't be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

#[derive(Serialize)]
struct Column {
    name: String,
    /// In SQL.
    r#type: String,
}

/// The views, by name.
pub(crate) async fn list(State(shared): State<Arc<Shared>>) -> Response {
    let views = shared.views.list().iter().map(|view| summary(view)).collect();
    json_response(&List { views })
}

fn summary(view: &View) -> Summary {
    let (relation, statistics) = (view.relation(), view.statistics());
    let fields = relation.schema.fields();
    let mut key = relation.key.clone();
    key.sort_unstable();
    let columns = fields.iter().map(|field| Column {
        name: field.name().clone(),
        r#type: sql_type(field.data_type()),
    });
    Summary {
        name: relation.name.to_string(),
        columns: columns.collect(),
        key: key
            .iter()
            .filter_map(|&column| Some(fields.get(column)?.name().clone()))
            .collect(),
        rows: statistics.rows,
        bytes: statistics.bytes,
        subscribers: statistics.subscribers,
        lag: statistics.lag,
        ready: statistics.trouble.is_none(),
        trouble: statistics.trouble.map(|error| error.to_string()),
    }
}

/// A type's name in SQL; Arrow's own where SQL has none.
fn sql_type(kind: &DataType) -> String {
    let name = match kind {
        DataType::Boolean => "BOOLEAN",
        DataType::Int8 => "TINYINT",
        DataType::Int16 => "SMALLINT",
        DataType::Int32 => "INT",
        DataType::Int64 => "BIGINT",
        DataType::UInt64 => "BIGINT UNSIGNED",
        DataType::Float32 => "REAL",
        DataType::Float64 => "DOUBLE",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR",
        DataType::Date32 => "DATE",
        DataType::Timestamp(
            TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Microsecond | TimeUnit::Nanosecond,
            None,
        ) => "TIMESTAMP",
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE",
        DataType::Decimal128(precision, scale) => return format!("DECIMAL({precision}, {scale})"),
        other => return other.to_string(),
    };
    name.to_owned()
}

/// What is asked of a view: values of columns by name, and a few words of our own.
struct Question {
    filter: Filter,
    limit: usize,
    after: Option<Position>,
}

impl Question {
    fn parse(view: &View, parameters: &[(String, String)], largest: usize) -> Result<Self, Problem> {
        let mut limit = PAGE.min(largest);
        let (mut key, mut after, mut equal) = (None, None, Vec::new());
        for (name, value) in parameters {
            match name.as_str() {
                "limit" => {
                    let wanted: Option<usize> = value.parse().ok().filter(|limit| (1..=largest).contains(limit));
                    limit = wanted
                        .ok_or_else(|| Problem::bad_request(format!("\"limit\" is a number from 1 to {largest}")))?;
                }
                // A position that can't be read is one that is not known any more.
                "after" => after = value.parse().ok(),
                "key" => key = Some(value.as_str()),
                _ => equal.push((name.as_str(), value.as_str())),
            }
        }
        let filter = match key {
            Some(key) if equal.is_empty() => view.key_filter(key)?,
            Some(_) => {
                return Err(Problem::bad_request(
                    "a key is the whole question: leave out \"key\", or the columns",
                ));
            }
            None => view.filter(equal)?,
        };
        Ok(Self { filter, limit, after })
    }
}

/// Rows of a view: those of a key, or with given values in some columns. As JSON, or as Arrow for who accepts that.
pub(crate) async fn rows(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Query(parameters): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let view = shared.views.get(&name)?;
    let question = Question::parse(&view, &parameters, shared.config.limits.view_rows)?;
    let accepted = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|accept| accept.to_str().ok());
    let arrow = accepted
        .flat_map(|accept| accept.split([',', ';']))
        .any(|kind| kind.trim() == ARROW);
    // Looking through many rows takes its time.
    let answer = move || {
        let found = view.scan(&question.filter, question.limit)?;
        let mut answer = if arrow {
            arrow_stream(&view, &found.rows)?
        } else {
            json_array(found.rows)
        };
        if found.more {
            answer.headers_mut().insert(MORE, HeaderValue::from_static("true"));
        }
        Ok::<_, Problem>(answer)
    };
    shared.library.read(move |_| Ok(answer())).await?
}

fn arrow_stream(view: &View, rows: &[Row]) -> Result<Response, Problem> {
    let failed = |error: ArrowError| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "arrow", error.to_string());
    let mut stream = StreamWriter::try_new(Vec::new(), &view.relation().schema).map_err(failed)?;
    for batch in view.batches(rows)? {
        stream.write(&batch).map_err(failed)?;
    }
    let bytes = stream.into_inner().map_err(failed)?;
    Ok(([(header::CONTENT_TYPE, ARROW)], bytes).into_response())
}

fn json_array(rows: Vec<Row>) -> Response {
    let body = Body::from_stream(stream::iter(array(rows).map(Ok::<_, Infallible>)));
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// An array of JSON, piece by piece.
fn array(rows: Vec<Row>) -> impl Iterator<Item = Bytes> {
    let mut rows = rows.into_iter();
    let mut before = "[";
    let mut done = false;
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        let mut piece = String::new();
        for row in rows.by_ref().take(PIECE) {
            piece.push_str(before);
            piece.push_str(row.value());
            before = ",\n";
        }
        if rows.as_slice().is_empty() {
            done = true;
            piece.push_str(if before == "[" { "[]\n" } else { "]\n" });
        }
        Some(Bytes::from(piece))
    })
}

/// What changes in a view: over WebSocket when asked to upgrade, else as server-sent events.
pub(crate) async fn changes(
    State(shared): State<Arc<Shared>>,
    Extension(place): Extension<Place>,
    Path(name): Path<String>,
    Query(parameters): Query<Vec<(String, String)>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let view = shared.views.get(&name)?;
    let question = Question::parse(&view, &parameters, shared.config.limits.view_rows)?;
    let seen = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.parse().ok());
    let after = seen.or(question.after);
    let upgrade = match upgrade {
        Ok(upgrade) => Some(upgrade),
        Err(refusal) if headers.contains_key(header::UPGRADE) => return Ok(refusal.into_response()),
        Err(_) => None,
    };
    let subscription = shared
        .library
        .read(move |_| Ok(view.subscribe(question.filter, after)))
        .await??;
    let listener = Listener::new(subscription, shared);
    Ok(match upgrade {
        Some(upgrade) => {
            let upgrade = upgrade
                .max_message_size(LARGEST_MESSAGE)
                .max_frame_size(LARGEST_MESSAGE);
            upgrade.on_upgrade(async move |socket| {
                views::serve(socket, listener).await;
                drop(place);
            })
        }
        None => {
            let events = stream::unfold(listener, |mut listener| async move {
                let event = next(&mut listener).await?;
                Some((Ok::<_, Infallible>(event), listener))
            });
            Sse::new(events).keep_alive(KeepAlive::default()).into_response()
        }
    })
}

async fn next(listener: &mut Listener) -> Option<Event> {
    let mut stopping = listener.shared().stopping.clone();
    let message = tokio::select! {
        message = listener.next() => message.ok()?,
        () = stopping.wait() => return None,
    };
    let event = Event::default().event(message.event).data(message.data()).retry(RETRY);
    Some(match message.position {
        Some(position) => event.id(position),
        None => event,
    })
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let (status, code) = match &error {
            StoreError::UnknownView { .. } => (StatusCode::NOT_FOUND, "unknown_view"),
            StoreError::UnknownColumn { .. } => (StatusCode::BAD_REQUEST, "unknown_column"),
            StoreError::Value(_) => (StatusCode::BAD_REQUEST, "bad_value"),
            StoreError::TooManyRows { .. } => (StatusCode::BAD_REQUEST, "too_many_rows"),
            StoreError::NotReady { .. } => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
            StoreError::TooLarge { .. } => (StatusCode::INSUFFICIENT_STORAGE, "view_too_large"),
            StoreError::Dropped(_) => (StatusCode::GONE, "view_dropped"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "views"),
        };
        Self::new(status, code, error.to_string())
    }
}
