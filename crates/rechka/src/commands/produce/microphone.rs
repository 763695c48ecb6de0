//! The microphone as a session.
//!
//! Sound is taken from a program that the system has for it. Its own interfaces would need libraries to be built with (ALSA, PulseAudio),
//! on every machine and in the image, for a command that few machines can use.
use std::{
    io::{ErrorKind, Read},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
};

use anyhow::{Context, Result, bail};
use rechka_log::{Log, TopicSpec};

use super::{
    now,
    speaker::{RECORD, Speaker},
};
use crate::runtime;

/// Programs that write 16 kHz mono s16le to standard output, the best first, and how they are asked to.
const RECORDERS: [(&str, &str); 4] = [
    (
        "parec",
        "--raw --format=s16le --rate=16000 --channels=1 --latency-msec=50",
    ),
    ("arecord", "-q -t raw -f S16_LE -r 16000 -c 1"),
    ("rec", "-q -t raw -e signed -b 16 -r 16000 -c 1 -"),
    ("ffmpeg", FFMPEG),
];
#[cfg(target_os = "macos")]
const FFMPEG: &str = "-loglevel error -nostdin -f avfoundation -i :default -f s16le -ar 16000 -ac 1 -";
#[cfg(not(target_os = "macos"))]
const FFMPEG: &str = "-loglevel error -nostdin -f alsa -i default -f s16le -ar 16000 -ac 1 -";

/// Appends what the microphone hears until it is interrupted; then ends the session.
pub fn append(log: Arc<dyn Log>, topic: &TopicSpec, session: Option<&str>) -> Result<()> {
    let session = session.map_or_else(|| format!("microphone-{}", now()), str::to_owned);
    let (recorder, mut child) = record()?;
    let sound = child.stdout.take().context("the recorder has no output")?;
    let speaker = Speaker::new(log, topic, &session, 0);
    eprintln!("{recorder} listens: session {session} in {} (Ctrl-C ends)", topic.name);
    runtime::run(async {
        let (ended, end) = tokio::sync::oneshot::channel::<()>();
        let speaking = thread::spawn(move || {
            let seconds = speak(sound, speaker);
            drop(ended);
            seconds
        });
        tokio::select! {
            () = runtime::interrupted() => {}
            _ = end => {}
        }
        // It may have ended by itself, or by the same interrupt.
        let _ = child.kill();
        let status = child.wait()?;
        let seconds = speaking
            .join()
            .map_err(|_| anyhow::anyhow!("the thread that appends has failed"))??;
        if seconds == 0.0 {
            bail!("{recorder} recorded nothing ({status}): is there a microphone, and may it be used?");
        }
        eprintln!("{seconds:.1} s in session {session}");
        Ok(())
    })
}

/// Starts the first recorder that is there.
fn record() -> Result<(&'static str, Child)> {
    for (program, arguments) in RECORDERS {
        let mut command = Command::new(program);
        match command
            .args(arguments.split(' '))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
        {
            Ok(child) => return Ok((program, child)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("starting {program}")),
        }
    }
    bail!(
        "no program to record with: install one of parec (on Debian the package pulseaudio-utils), arecord (alsa-utils), rec (sox), ffmpeg"
    )
}

/// Appends what is recorded to its end, and that; gives its length in seconds.
fn speak(mut sound: impl Read, mut speaker: Speaker) -> Result<f64> {
    let mut bytes = vec![0; RECORD * 2];
    loop {
        let filled = fill(&mut sound, &mut bytes)?;
        let samples: Vec<i16> = bytes[..filled]
            .chunks_exact(2)
            .map(|sample| i16::from_le_bytes([sample[0], sample[1]]))
            .collect();
        speaker.say(&samples)?;
        if filled < bytes.len() {
            let seconds = speaker.seconds();
            // Of a session that never began there is nothing to end.
            return if seconds > 0.0 {
                speaker.end().map(|()| seconds)
            } else {
                Ok(seconds)
            };
        }
    }
}

/// Reads until a buffer is full, or to the end.
fn fill(sound: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match sound.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
