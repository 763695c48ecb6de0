//! Speaks samples into the log at real speed, as a microphone would.
use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rechka_log::{Append, BatchBuilder, Header, Log, Result, TopicPartition};
use rechka_types::headers;

/// Sample frames in a record: 100 ms at 16 kHz.
const CHUNK: usize = 1_600;

/// Appends `samples` (16 kHz mono) to `to`, each chunk when its last sample has sounded, then the session's end.
pub fn speak(
    log: Arc<dyn Log>,
    session: &'static str,
    to: TopicPartition,
    samples: Vec<i16>,
    began: Instant,
) -> JoinHandle<Result<()>> {
    thread::spawn(move || {
        let mut frame = 0;
        for chunk in samples.chunks(CHUNK) {
            let sounded = Duration::from_secs_f64((frame + chunk.len()) as f64 / 16_000.0);
            thread::sleep((began + sounded).saturating_duration_since(Instant::now()));
            let bytes: Vec<u8> = chunk.iter().flat_map(|sample| sample.to_le_bytes()).collect();
            append(&*log, session, &to, frame, &bytes, &[])?;
            frame += chunk.len();
        }
        append(
            &*log,
            session,
            &to,
            frame,
            &[],
            &[(headers::CONTROL, headers::END.as_bytes())],
        )
    })
}

fn append(
    log: &dyn Log,
    session: &str,
    to: &TopicPartition,
    frame: usize,
    bytes: &[u8],
    more: &[Header<'_>],
) -> Result<()> {
    let frame = frame.to_string();
    let format: [Header<'_>; 4] = [
        (headers::ENCODING, b"pcm_s16le"),
        (headers::RATE, b"16000"),
        (headers::CHANNELS, b"1"),
        (headers::FRAME, frame.as_bytes()),
    ];
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64);
    let mut builder = BatchBuilder::new();
    builder.push(Some(session.as_bytes()), bytes, now, &[&format, more].concat())?;
    log.append(vec![Append {
        to: to.clone(),
        batch: builder.finish(),
    }])?
    .wait()?;
    Ok(())
}
