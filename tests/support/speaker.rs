//! A client that speaks into `/v1/stream`, and goes on where it was after any failure.
use std::{
    io::ErrorKind,
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket, stream::MaybeTlsStream};

/// Sample frames in a message: 100 ms.
const CHUNK: usize = 1_600;
/// A session that is not complete by then has hung.
const LIMIT: Duration = Duration::from_secs(600);

type Socket = WebSocket<MaybeTlsStream<TcpStream>>;

/// One speaker's session.
pub struct Speaker {
    /// Address of the server.
    pub address: String,
    /// The session's id.
    pub session: String,
    /// 16 kHz mono.
    pub samples: Vec<i16>,
    /// Seconds of sound sent in a second, at most 4.
    pub speed: f64,
}

impl Speaker {
    /// Speaks to the end and returns every final received: each once, in order, whatever happened to the server meanwhile.
    pub fn speak(&self) -> Vec<Value> {
        let began = Instant::now();
        let mut finals = Vec::new();
        while began.elapsed() < LIMIT {
            match self.connect_and_speak(&mut finals) {
                Ok(()) => return finals,
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
        panic!(
            "session {} is not complete after {LIMIT:?}; it has {} finals",
            self.session,
            finals.len()
        );
    }

    fn connect_and_speak(&self, finals: &mut Vec<Value>) -> tungstenite::Result<()> {
        let (mut socket, _) = tungstenite::connect(format!("ws://{}/v1/stream", self.address))?;
        let hello = json!({
            "encoding": "pcm_s16le", "rate": 16_000, "channels": 1, "session": self.session,
            "after_segment": finals.last().map(|last| last["segment"].clone()),
        });
        socket.send(Message::text(hello.to_string()))?;
        let mut position = loop {
            if let Message::Text(text) = socket.read()? {
                let ready: Value = serde_json::from_str(&text).expect("the server speaks JSON");
                match ready["type"].as_str() {
                    Some("ready") => break ready["next_frame"].as_u64().expect("ready has next_frame") as usize,
                    Some("final") => finals.push(ready),
                    Some("error") => panic!("refused: {text}"),
                    _ => {}
                }
            }
        };
        while position < self.samples.len() {
            let chunk = &self.samples[position..self.samples.len().min(position + CHUNK)];
            let mut message = (position as u64).to_le_bytes().to_vec();
            message.extend(chunk.iter().flat_map(|sample| sample.to_le_bytes()));
            socket.send(Message::binary(message))?;
            position += chunk.len();
            let pause = Duration::from_secs_f64(chunk.len() as f64 / 16_000.0 / self.speed);
            read_for(&mut socket, pause, finals)?;
        }
        socket.send(Message::text(r#"{"type":"end"}"#))?;
        while !read_for(&mut socket, Duration::from_secs(1), finals)? {}
        Ok(())
    }
}

/// Collects finals for a while; true when the session is complete.
fn read_for(socket: &mut Socket, pause: Duration, finals: &mut Vec<Value>) -> tungstenite::Result<bool> {
    let until = Instant::now() + pause;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
            stream.set_read_timeout(Some(left))?;
        }
        match socket.read() {
            Ok(Message::Text(text)) => {
                let event: Value = serde_json::from_str(&text).expect("the server speaks JSON");
                match event["type"].as_str() {
                    Some("final") => finals.push(event),
                    Some("end") => return Ok(true),
                    Some("error") => panic!("refused: {text}"),
                    _ => {}
                }
            }
            Ok(_) => {}
            Err(tungstenite::Error::Io(error))
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
            {
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
    }
}
