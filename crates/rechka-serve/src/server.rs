//! Accepting connections: a bounded number, none of them idle in its first words, or deaf to what it has asked for.
use std::{convert::Infallible, pin::Pin, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, StatusCode, header},
    response::Response,
};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};

use tokio_io_timeout::TimeoutStream;

use crate::{config::Limits, stopping::Stopping};

type Socket = Pin<Box<TimeoutStream<TcpStream>>>;

/// A client that takes longer to say what it wants is cut off.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// Clients may take so long to leave when the gateway stops.
const FAREWELL: Duration = Duration::from_secs(5);
/// Pause after the system could not accept a connection (too many open files, for example).
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves until `stopping` turns true and all connections are gone, or have had time to go.
pub(crate) async fn serve(listener: TcpListener, routes: Router, limits: &Limits, mut stopping: Stopping) {
    let (most_connections, patience) = (limits.connections, limits.idle);
    let places = Arc::new(Semaphore::new(most_connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopping.wait() => break,
            // Finished connections are forgotten as they finish.
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((socket, _)) => match places.clone().try_acquire_owned() {
                Ok(place) => drop(connections.spawn(connection(
                    within(patience, socket),
                    routes.clone(),
                    place,
                    stopping.clone(),
                ))),
                Err(_) => drop(connections.spawn(full(socket))),
            },
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop(listener);
    // WebSockets and event streams see the same signal, and leave.
    let all_gone = async {
        while connections.join_next().await.is_some() {}
        // Upgraded connections live on in tasks of their own, each with its place.
        let all = u32::try_from(most_connections).unwrap_or(u32::MAX);
        drop(places.acquire_many(all).await);
    };
    if tokio::time::timeout(FAREWELL, all_gone).await.is_err() {
        tracing::info!("some clients did not leave in time");
    }
}

/// The place that a connection has among those allowed; whoever keeps the connection keeps it.
#[derive(Clone)]
pub(crate) struct Place(#[expect(dead_code, reason = "held, not read")] Arc<OwnedSemaphorePermit>);

/// A socket whose writes fail when the client takes nothing for so long.
fn within(patience: Duration, socket: TcpStream) -> Socket {
    // Acknowledgements and captions are small, and wanted at once.
    let _ = socket.set_nodelay(true);
    let mut socket = TimeoutStream::new(socket);
    socket.set_write_timeout(Some(patience));
    Box::pin(socket)
}

async fn connection(socket: Socket, routes: Router, place: OwnedSemaphorePermit, mut stopping: Stopping) {
    let routes = routes.layer(axum::Extension(Place(Arc::new(place))));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(routes))
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopping.wait() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// All places are taken: says so to whatever is asked first.
async fn full(socket: TcpStream) {
    let answer = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(1))
        .keep_alive(false)
        .serve_connection(TokioIo::new(socket), hyper::service::service_fn(come_back_later));
    let _ = tokio::time::timeout(Duration::from_secs(2), answer).await;
}

async fn come_back_later(_: Request<Incoming>) -> Result<Response, Infallible> {
    let mut response = Response::new(Body::from("all connections are in use: try again in a while\n"));
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
    Ok(response)
}
