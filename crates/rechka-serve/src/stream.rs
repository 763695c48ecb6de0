//! One WebSocket connection of `/v1/stream`.
use std::{
    future,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use rechka_types::topics;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use crate::{
    Limits,
    gateway::Shared,
    protocol::{AudioMessage, ClientMessage, Hello, Pace, Refusal, ServerMessage, SessionId},
    session::{Ingest, Job, Opened, Progress, last_record},
    transcripts::{Heard, Subscription},
};

/// A client has so long to say hello.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// Saying goodbye may take so long.
const FAREWELL: Duration = Duration::from_secs(2);

/// How a connection ends.
enum Goodbye {
    /// The client has gone, or nothing can be told to it.
    Gone,
    /// All is said.
    Complete,
    /// The client is sent away.
    Refused(Refusal),
}

impl From<Refusal> for Goodbye {
    fn from(refusal: Refusal) -> Self {
        Goodbye::Refused(refusal)
    }
}

/// Serves a connection to its end.
pub(crate) async fn serve(mut socket: WebSocket, shared: Arc<Shared>) {
    shared.metrics.streams.fetch_add(1, Relaxed);
    let goodbye = match converse(&mut socket, &shared).await {
        Ok(never) => match never {},
        Err(goodbye) => goodbye,
    };
    shared.metrics.streams.fetch_sub(1, Relaxed);
    let close = match goodbye {
        Goodbye::Gone => return,
        Goodbye::Complete => (1000, String::new()),
        Goodbye::Refused(refusal) => {
            shared.metrics.refused(refusal.code());
            let message = refusal.to_string();
            let error = ServerMessage::Error {
                code: refusal.code(),
                message: &message,
                retry_after: refusal.retry_after(),
            };
            let _ = timeout(FAREWELL, socket.send(Message::text(error.to_json()))).await;
            (refusal.close_code(), refusal.code().to_owned())
        }
    };
    let frame = CloseFrame {
        code: close.0,
        reason: close.1.into(),
    };
    let _ = timeout(FAREWELL, async {
        // The client's answer to the closing is awaited, so that it reads what was sent before (RFC 6455, section 7.1.1).
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    })
    .await;
}

async fn converse(socket: &mut WebSocket, shared: &Shared) -> Result<std::convert::Infallible, Goodbye> {
    let hello = hello(socket, shared).await?;
    if let Some(session) = &hello.session {
        refuse_forgotten(session, shared).await?;
    }
    let ingest = shared.ingest().ok_or(Refusal::Stopping)?;
    let (pace, after_segment) = (hello.pace, hello.after_segment);
    let frame_bytes = hello.format.frame_bytes();
    let rate = hello.format.rate();
    let opened = ingest.open(hello).await?;
    let mut stream = Stream {
        limits: &shared.config.limits,
        shared,
        ingest: &ingest,
        events: shared.subscribe(opened.session.as_str(), after_segment),
        frame_bytes,
        message_bytes: AudioMessage::size(topics::MAX_RECORD_SECONDS * frame_bytes * rate as usize)
            .min(shared.config.limits.message_bytes),
        sent: opened.next_frame,
        acknowledged: opened.next_frame,
        pacer: Pacer::new(&shared.config.limits, pace, frame_bytes as u64 * u64::from(rate)),
        ended: opened.ended,
        opened,
    };
    let goodbye = match stream.run(socket).await {
        Ok(never) => match never {},
        Err(goodbye) => goodbye,
    };
    let leave = Job::Leave {
        session: stream.opened.session.clone(),
        connection: stream.opened.connection,
    };
    let _ = ingest.send(leave).await;
    Err(goodbye)
}

async fn hello(socket: &mut WebSocket, shared: &Shared) -> Result<Hello, Goodbye> {
    let mut stopping = shared.stopping.clone();
    let first = async {
        loop {
            match socket.recv().await {
                Some(Ok(Message::Text(text))) => return Ok(Hello::parse(&text)?),
                Some(Ok(Message::Binary(_))) => return Err(Refusal::Hello("it is binary".into()).into()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Err(error)) => return Err(Refusal::Message(error.to_string()).into()),
                Some(Ok(Message::Close(_))) | None => return Err(Goodbye::Gone),
            }
        }
    };
    tokio::select! {
        hello = timeout(HELLO_WITHIN, first) => {
            hello.unwrap_or(Err(Refusal::NoHello(HELLO_WITHIN.as_secs()).into()))
        }
        () = stopping.wait() => Err(Refusal::Stopping.into()),
    }
}

/// A session that was complete before the catalog left it out must not begin again under its name.
async fn refuse_forgotten(session: &SessionId, shared: &Shared) -> Result<(), Refusal> {
    if !shared.catalog.may_have_left_out(session) {
        return Ok(());
    }
    let id = session.clone();
    let record = shared.library.read(move |log| last_record(log, &id)).await;
    match record.map_err(|error| Refusal::Storage(error.to_string()))? {
        Some(record) if record.ended => Err(Refusal::Ended),
        _ => Ok(()),
    }
}

struct Stream<'a> {
    shared: &'a Shared,
    limits: &'a Limits,
    ingest: &'a Ingest,
    opened: Opened,
    events: Subscription,
    frame_bytes: usize,
    /// Bytes of one audio message.
    message_bytes: usize,
    /// The end of what has been handed over to be stored.
    sent: u64,
    /// The end of what the client knows to be durable.
    acknowledged: u64,
    pacer: Pacer,
    /// The client has said that the session is complete, or it was before.
    ended: bool,
}

impl Stream<'_> {
    async fn run(&mut self, socket: &mut WebSocket) -> Result<std::convert::Infallible, Goodbye> {
        let ready = ServerMessage::Ready {
            session: self.opened.session.as_str(),
            next_frame: self.opened.next_frame,
            ended: self.opened.ended,
            model: &self.shared.config.model,
            message_bytes: self.message_bytes,
            window_bytes: self.limits.window_bytes,
        };
        send(socket, self.limits, Message::text(ready.to_json())).await?;
        let mut stopping = self.shared.stopping.clone();
        let mut pings = interval(self.limits.idle / 3);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard_at = Instant::now();
        let mut progress_may_change = true;
        loop {
            let durable = self.opened.progress.borrow().durable;
            let window_is_full =
                self.sent.saturating_sub(durable) * self.frame_bytes as u64 >= self.limits.window_bytes;
            if window_is_full {
                // Its answers to pings wait unread behind its audio.
                heard_at = Instant::now();
            }
            let may_read_at = self.pacer.may_read_at();
            let message = async {
                if window_is_full {
                    future::pending::<()>().await;
                }
                sleep_until(may_read_at).await;
                socket.recv().await
            };
            tokio::select! {
                message = message => {
                    heard_at = Instant::now();
                    self.message(message).await?;
                }
                changed = self.opened.progress.changed(), if progress_may_change => {
                    progress_may_change = changed.is_ok();
                    let progress = self.opened.progress.borrow_and_update().clone();
                    self.progress(socket, progress).await?;
                }
                heard = self.events.next() => {
                    let heard = heard.map_err(|error| Refusal::Storage(error.to_string()))?;
                    self.tell(socket, heard).await?;
                }
                _ = pings.tick() => {
                    if heard_at.elapsed() > self.limits.idle {
                        return Err(Refusal::Idle(self.limits.idle.as_secs()).into());
                    }
                    send(socket, self.limits, Message::Ping(Default::default())).await?;
                }
                () = stopping.wait() => return Err(Refusal::Stopping.into()),
            }
        }
    }

    async fn message(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<(), Goodbye> {
        match message {
            Some(Ok(Message::Binary(bytes))) => {
                let received = std::time::Instant::now();
                if self.ended {
                    return Err(Refusal::Ended.into());
                }
                self.pacer.take(bytes.len())?;
                let message = AudioMessage::parse(bytes, self.frame_bytes, self.message_bytes)?;
                let frames = (message.samples.len() / self.frame_bytes) as u64;
                // A gap is refused by the sequencer, which knows what is missing; it must not count as being under way.
                if message.first_frame <= self.sent {
                    self.sent = self.sent.max(message.first_frame + frames);
                }
                let job = Job::Audio {
                    session: self.opened.session.clone(),
                    connection: self.opened.connection,
                    message,
                    received,
                };
                self.ingest.send(job).await?;
            }
            Some(Ok(Message::Text(text))) => match ClientMessage::parse(&text)? {
                ClientMessage::End if self.ended => {}
                ClientMessage::End => {
                    self.ended = true;
                    let job = Job::End {
                        session: self.opened.session.clone(),
                        connection: self.opened.connection,
                    };
                    self.ingest.send(job).await?;
                }
            },
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Err(error)) => return Err(Refusal::Message(error.to_string()).into()),
            Some(Ok(Message::Close(_))) | None => return Err(Goodbye::Gone),
        }
        Ok(())
    }

    async fn progress(&mut self, socket: &mut WebSocket, progress: Progress) -> Result<(), Goodbye> {
        if progress.durable > self.acknowledged {
            self.acknowledged = progress.durable;
            let ack = ServerMessage::Ack {
                frame: progress.durable,
            };
            send(socket, self.limits, Message::text(ack.to_json())).await?;
        }
        match progress.refusal {
            Some(refusal) => Err(refusal.into()),
            None => Ok(()),
        }
    }

    async fn tell(&mut self, socket: &mut WebSocket, heard: Heard) -> Result<(), Goodbye> {
        self.shared.metrics.events.fetch_add(1, Relaxed);
        let message = match &heard {
            Heard::Partial(partial) => ServerMessage::Partial(partial),
            Heard::Final(segment) => ServerMessage::Final(segment),
            Heard::End(seconds) => ServerMessage::End { seconds: *seconds },
        };
        send(socket, self.limits, Message::text(message.to_json())).await?;
        match heard {
            Heard::End(_) => Err(Goodbye::Complete),
            _ => Ok(()),
        }
    }
}

/// Tells the client something; a client that does not take it in time is idle.
async fn send(socket: &mut WebSocket, limits: &Limits, message: Message) -> Result<(), Goodbye> {
    match timeout(limits.idle, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Goodbye::Gone),
        Err(_) => Err(Refusal::Idle(limits.idle.as_secs()).into()),
    }
}

/// How fast a connection is read, and how fast live audio may come.
struct Pacer {
    bytes_per_second: f64,
    read_until: Instant,
    /// Live audio only.
    live: Option<Credit>,
}

/// Audio that may still come: it grows with time, and never above a burst.
struct Credit {
    bytes: f64,
    burst: f64,
    bytes_per_second: f64,
    speed: f64,
    at: Instant,
}

impl Pacer {
    /// What reading a message costs, however small it is, in bytes.
    const MESSAGE_BYTES: usize = 256;
    /// Reading may run ahead of its pace by this much.
    const AHEAD: Duration = Duration::from_millis(500);

    fn new(limits: &Limits, pace: Pace, audio_bytes_per_second: u64) -> Self {
        let now = Instant::now();
        let real_time = audio_bytes_per_second as f64;
        let burst = real_time * limits.live_burst.as_secs_f64();
        Self {
            bytes_per_second: limits.bytes_per_second.max(1) as f64,
            read_until: now,
            live: (pace == Pace::Live).then_some(Credit {
                bytes: burst,
                burst,
                bytes_per_second: real_time * limits.live_speed,
                speed: limits.live_speed,
                at: now,
            }),
        }
    }

    fn may_read_at(&self) -> Instant {
        self.read_until - Self::AHEAD
    }

    fn take(&mut self, bytes: usize) -> Result<(), Refusal> {
        let now = Instant::now();
        let cost = Duration::from_secs_f64((bytes + Self::MESSAGE_BYTES) as f64 / self.bytes_per_second);
        self.read_until = self.read_until.max(now) + cost;
        if let Some(credit) = &mut self.live {
            let earned = now.duration_since(credit.at).as_secs_f64() * credit.bytes_per_second;
            credit.bytes = (credit.bytes + earned).min(credit.burst) - bytes as f64;
            credit.at = now;
            if credit.bytes < 0.0 {
                return Err(Refusal::TooFast(credit.speed));
            }
        }
        Ok(())
    }
}
