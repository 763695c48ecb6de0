//! What the tests of the gateway have in common: a gateway on a port, a client, and a recogniser that follows a script.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]
use std::{
    collections::HashMap,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use rechka_log::{Append, BatchBuilder, Log, SqliteLog, TopicPartition, partition_for_key};
use rechka_serve::{Gateway, GatewayConfig, Limits};
use rechka_types::{Kind, Partial, Transcript, Word, headers, topics};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, protocol::frame::coding::CloseCode},
};

/// Partitions that the tests use.
pub const PARTITIONS: u32 = 2;
/// Far longer than anything takes.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn open_log(directory: &Path) -> Arc<dyn Log> {
    Arc::new(SqliteLog::open(directory).unwrap())
}

pub fn config() -> GatewayConfig {
    GatewayConfig {
        model: "script".into(),
        partitions: PARTITIONS,
        ..GatewayConfig::default()
    }
}

pub fn config_with(change: impl FnOnce(&mut Limits)) -> GatewayConfig {
    let mut config = config();
    change(&mut config.limits);
    config
}

/// A gateway that serves.
pub struct Served {
    pub address: SocketAddr,
    pub log: Arc<dyn Log>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Served {
    pub async fn start(log: Arc<dyn Log>, config: GatewayConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start_on(listener, log, config).await
    }

    pub async fn start_on(listener: TcpListener, log: Arc<dyn Log>, config: GatewayConfig) -> Self {
        Self::serve(Gateway::new(log.clone(), config).unwrap(), listener, log)
    }

    pub fn serve(gateway: Gateway, listener: TcpListener, log: Arc<dyn Log>) -> Self {
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            gateway.serve(listener, async { drop(stopped.await) }).await.unwrap();
        });
        Self {
            address,
            log,
            stop,
            task,
        }
    }

    /// Stops, and gives the log back.
    pub async fn stop(self) -> Arc<dyn Log> {
        drop(self.stop);
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .expect("the gateway stops")
            .unwrap();
        self.log
    }

    pub async fn connect(&self, hello: Value) -> Client {
        let mut client = self.socket().await;
        client.say(hello).await;
        client
    }

    /// A connection on which nothing has been said.
    pub async fn socket(&self) -> Client {
        let (socket, _) = connect_async(format!("ws://{}/v1/stream", self.address)).await.unwrap();
        Client { socket }
    }

    /// A session and its first frame to send.
    pub async fn open(&self, hello: Value) -> (Client, String, u64) {
        let mut client = self.connect(hello).await;
        let ready = client.expect("ready").await;
        let session = ready["session"].as_str().unwrap().to_owned();
        (client, session, ready["next_frame"].as_u64().unwrap())
    }

    /// Asks over HTTP/1.1, with headers of one's own: status, headers in small letters, body.
    pub async fn get_with(&self, path: &str, extra: &str) -> (u16, HashMap<String, String>, Vec<u8>) {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let host = if extra.to_ascii_lowercase().contains("host:") {
            String::new()
        } else {
            format!("Host: {}\r\n", self.address)
        };
        let request = format!("GET {path} HTTP/1.1\r\n{host}{extra}Connection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer))
            .await
            .unwrap()
            .unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let headers: HashMap<String, String> = head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let body = &answer[end + 4..];
        let chunked = headers
            .get("transfer-encoding")
            .is_some_and(|coding| coding == "chunked");
        (status, headers, if chunked { unchunk(body) } else { body.to_vec() })
    }

    pub async fn get(&self, path: &str) -> (u16, HashMap<String, String>, Vec<u8>) {
        self.get_with(path, "").await
    }

    pub async fn get_json(&self, path: &str) -> Value {
        let (status, _, body) = self.get(path).await;
        let body = String::from_utf8(body).unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }
}

fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let line = body.windows(2).position(|window| window == b"\r\n").unwrap();
        let length = usize::from_str_radix(std::str::from_utf8(&body[..line]).unwrap(), 16).unwrap();
        if length == 0 {
            return whole;
        }
        whole.extend_from_slice(&body[line + 2..line + 2 + length]);
        body = &body[line + 2 + length + 2..];
    }
}

/// What a client hears.
#[derive(Debug)]
pub enum Heard {
    Message(Value),
    Closed(u16),
    /// The connection broke.
    Lost,
}

pub struct Client {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    pub async fn say(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    pub async fn audio(&mut self, first_frame: u64, samples: &[i16]) {
        self.bytes(audio_message(first_frame, samples)).await;
    }

    pub async fn bytes(&mut self, bytes: Vec<u8>) {
        self.socket.send(Message::binary(bytes)).await.unwrap();
    }

    pub async fn hear(&mut self) -> Heard {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next())
                .await
                .expect("the server says something");
            match message {
                Some(Ok(Message::Text(text))) => return Heard::Message(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => {
                    return Heard::Closed(frame.map_or(1005, |frame| CloseCode::into(frame.code)));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Heard::Lost,
            }
        }
    }

    /// The next message of this type; acknowledgements and captions may come before it.
    pub async fn expect(&mut self, kind: &str) -> Value {
        loop {
            match self.hear().await {
                Heard::Message(message) if message["type"] == kind => return message,
                Heard::Message(message) if message["type"] == "error" => panic!("{message}"),
                Heard::Message(_) => {}
                end => panic!("{end:?} before {kind:?}"),
            }
        }
    }

    /// Waits until everything before `frame` is durable.
    pub async fn acknowledged(&mut self, frame: u64) {
        loop {
            let acknowledged = self.expect("ack").await["frame"].as_u64().unwrap();
            assert!(acknowledged <= frame, "{acknowledged} > {frame}");
            if acknowledged == frame {
                return;
            }
        }
    }

    /// The refusal, and the close code after it.
    pub async fn refused(&mut self) -> (Value, u16) {
        let mut refusal = None;
        loop {
            match self.hear().await {
                Heard::Message(message) if message["type"] == "error" => refusal = Some(message),
                Heard::Message(_) => {}
                Heard::Closed(code) => return (refusal.expect("a refusal says why"), code),
                Heard::Lost => panic!("lost after {refusal:?}"),
            }
        }
    }
}

pub fn audio_message(first_frame: u64, samples: &[i16]) -> Vec<u8> {
    let mut message = first_frame.to_le_bytes().to_vec();
    message.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    message
}

pub fn hello() -> Value {
    json!({"encoding": "pcm_s16le", "rate": 16000, "channels": 1})
}

pub fn hello_for(session: &str) -> Value {
    json!({"encoding": "pcm_s16le", "rate": 16000, "channels": 1, "session": session})
}

/// Samples whose values tell their place.
pub fn samples(frames: std::ops::Range<u64>) -> Vec<i16> {
    frames.map(|frame| (frame * 31 % 65_521) as u16 as i16).collect()
}

/// What the log has of a session: all its samples (they must follow without gap or overlap), and whether it is complete.
pub fn stored(log: &dyn Log, session: &str) -> (Vec<i16>, bool) {
    let (mut audio, mut ended) = (Vec::new(), false);
    let partition = TopicPartition::new(topics::AUDIO, partition_for_key(session.as_bytes(), PARTITIONS));
    let end = log.offsets(&partition).unwrap().end;
    let mut reader = log.read(vec![(partition, 0)]).unwrap();
    let mut position = 0;
    while position < end {
        let fetched = reader.poll(PATIENCE).unwrap().unwrap();
        position = fetched.next_offset();
        for record in fetched
            .batch
            .iter()
            .filter(|record| record.key == Some(session.as_bytes()))
        {
            assert!(!ended, "nothing follows the end");
            let frame = std::str::from_utf8(record.header(headers::FRAME).unwrap()).unwrap();
            assert_eq!(
                frame.parse::<usize>().unwrap(),
                audio.len(),
                "records follow without gap or overlap"
            );
            ended = record.header(headers::CONTROL) == Some(headers::END.as_bytes());
            let pairs = record.value.chunks_exact(2);
            audio.extend(pairs.map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
        }
    }
    (audio, ended)
}

/// Writes one record and waits until it is durable.
pub fn write(log: &dyn Log, topic: &str, session: &str, value: &impl serde::Serialize) {
    let mut batch = BatchBuilder::new();
    let value = serde_json::to_vec(value).unwrap();
    batch.push(Some(session.as_bytes()), &value, 1, &[]).unwrap();
    let append = Append {
        to: TopicPartition::new(topic, partition_for_key(session.as_bytes(), PARTITIONS)),
        batch: batch.finish(),
    };
    log.append(vec![append]).unwrap().wait().unwrap();
}

/// A segment of one second with one word.
pub fn segment(session: &str, number: u64, kind: Kind, text: &str) -> Transcript {
    let (start, end) = (number as f64, number as f64 + 1.0);
    let word = |word: &str| Word {
        word: word.into(),
        start: start + 0.1,
        end: start + 0.6,
        probability: 0.9,
    };
    Transcript {
        session: session.into(),
        segment: number,
        revision: 0,
        kind,
        start: if kind == Kind::End { 0.0 } else { start },
        end: if kind == Kind::End { start } else { end },
        text: text.into(),
        language: None,
        words: text.split_whitespace().map(word).collect(),
        reason: None,
        provenance: None,
    }
}

/// A recogniser that understands nothing: every whole second of a session is the next number, in words.
pub struct ScriptedRecogniser {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

const NUMBERS: [&str; 10] = [
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
];

impl ScriptedRecogniser {
    pub fn start(log: Arc<dyn Log>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let from = (0..PARTITIONS)
                .map(|number| (TopicPartition::new(topics::AUDIO, number), 0))
                .collect();
            let mut reader = log.read(from).unwrap();
            let mut seconds: HashMap<String, (f64, u64)> = HashMap::new();
            while !stopped.load(Ordering::Relaxed) {
                let Some(fetched) = reader.poll(Duration::from_millis(50)).unwrap() else {
                    continue;
                };
                for record in fetched.batch.iter() {
                    let session = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
                    let rate: f64 = std::str::from_utf8(record.header(headers::RATE).unwrap())
                        .unwrap()
                        .parse()
                        .unwrap();
                    let (heard, written) = seconds.entry(session.clone()).or_default();
                    *heard += record.value.len() as f64 / 2.0 / rate;
                    while *heard >= *written as f64 + 1.0 {
                        let text = NUMBERS[*written as usize % NUMBERS.len()];
                        write(
                            &*log,
                            topics::TRANSCRIPTS,
                            &session,
                            &segment(&session, *written, Kind::Speech, text),
                        );
                        *written += 1;
                    }
                    if record.header(headers::CONTROL).is_some() {
                        write(
                            &*log,
                            topics::TRANSCRIPTS,
                            &session,
                            &segment(&session, *written, Kind::End, ""),
                        );
                    } else {
                        let partial = Partial {
                            session: session.clone(),
                            segment: *written,
                            start: *written as f64,
                            end: *heard,
                            committed: String::new(),
                            tentative: format!("{} …", NUMBERS[*written as usize % NUMBERS.len()]),
                        };
                        write(&*log, topics::PARTIALS, &session, &partial);
                    }
                }
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for ScriptedRecogniser {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(std::thread::JoinHandle::join);
        if !std::thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}
