//! One WebSocket connection of `/v1/views/{name}/changes`.
use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::Listener;

/// Saying goodbye may take so long.
const FAREWELL: Duration = Duration::from_secs(2);

/// Tells a client what happens until one of the two goes.
pub(crate) async fn serve(mut socket: WebSocket, mut listener: Listener) {
    let shared = listener.shared().clone();
    shared.metrics.streams.fetch_add(1, Relaxed);
    let goodbye = tell(&mut socket, &mut listener).await;
    shared.metrics.streams.fetch_sub(1, Relaxed);
    drop(listener);
    if let Some((code, reason)) = goodbye {
        let frame = CloseFrame {
            code,
            reason: Utf8Bytes::from(reason),
        };
        let _ = timeout(FAREWELL, async {
            // The client's answer is awaited, so that it reads what was sent before (RFC 6455, section 7.1.1).
            if socket.send(Message::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = socket.recv().await {}
            }
        })
        .await;
    }
}

/// Ends with what to say in closing; `None`: nobody is there to hear it.
async fn tell(socket: &mut WebSocket, listener: &mut Listener) -> Option<(u16, String)> {
    let shared = listener.shared().clone();
    let idle = shared.config.limits.idle;
    let mut stopping = shared.stopping.clone();
    let mut pings = interval(idle / 3);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard_at = Instant::now();
    loop {
        let message = tokio::select! {
            message = listener.next() => match message {
                Ok(message) => Message::text(message.to_json()),
                Err(error) => return Some((1001, shorten(error.to_string()))),
            },
            heard = socket.recv() => match heard {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {
                    heard_at = Instant::now();
                    continue;
                }
            },
            _ = pings.tick() => {
                if heard_at.elapsed() > idle {
                    return Some((4004, "idle".into()));
                }
                Message::Ping(Default::default())
            }
            () = stopping.wait() => return Some((1012, "stopping".into())),
        };
        match timeout(idle, socket.send(message)).await {
            Ok(Ok(())) => {}
            _ => return None,
        }
    }
}

/// A close frame has room for 123 bytes (RFC 6455, section 5.5).
fn shorten(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(123));
    reason
}
