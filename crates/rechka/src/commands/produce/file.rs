//! A sound file as a session.
use std::{
    fs::File,
    io::Read,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rechka_log::{Log, TopicSpec};
use rechka_speech::audio::{AudioFile, SAMPLE_RATE};
use ring::digest::{Context, SHA256};

use super::{
    place::{self, Place},
    speaker::{RECORD, Speaker, integers, partition},
};
use crate::progress;

/// Frames that are appended together where time does not count.
const AT_ONCE: usize = 50 * RECORD;
/// Bytes of a file's digest in a session's name.
const DIGEST: usize = 4;
/// Characters of a file's name in a session's.
const LONGEST_STEM: usize = 48;

/// Appends a file, from where an earlier attempt ended; returns when it is durable. `speed`: as a multiple of real time, or as fast as it
/// goes. What can be read of a broken file is appended all the same.
pub fn append(
    log: &Arc<dyn Log>,
    topic: &TopicSpec,
    path: &Path,
    session: Option<&str>,
    speed: Option<f64>,
) -> Result<()> {
    let shown = path.display();
    let session = session.map_or_else(|| name(path), |session| Ok(session.to_owned()))?;
    let frame = match place::find(&**log, &partition(topic, &session), &session)? {
        Place::At(frame) => frame,
        Place::Complete => {
            eprintln!(
                "{shown}: session {session} is complete in {} (once more, as another: --session NAME)",
                topic.name
            );
            return Ok(());
        }
    };
    let file = AudioFile::open(path).with_context(|| shown.to_string())?;
    let bar = progress::of_audio(&file, path);
    let mut speaker = Speaker::new(Arc::clone(log), topic, &session, frame);
    let mut pace = Pace::new(speed);
    let (mut known, mut waiting, mut broken) = (frame as usize, Vec::new(), None);
    for chunk in file {
        match chunk {
            Ok(samples) => {
                let skipped = known.min(samples.len());
                known -= skipped;
                waiting.extend(integers(&samples[skipped..]));
            }
            Err(error) => broken = broken.or(Some(error)),
        }
        while waiting.len() >= pace.step {
            let rest = waiting.split_off(pace.step);
            pace.wait(waiting.len());
            speaker.say(&waiting)?;
            waiting = rest;
            bar.set_position((speaker.seconds() * 1e3) as u64);
        }
    }
    pace.wait(waiting.len());
    speaker.say(&waiting)?;
    let seconds = speaker.seconds();
    speaker.end()?;
    bar.finish_and_clear();
    eprintln!("{shown}: {seconds:.1} s in {}, session {session}", topic.name);
    broken.map_or(Ok(()), |error| Err(error).with_context(|| shown.to_string()))
}

/// When what is said next has sounded.
struct Pace {
    speed: Option<f64>,
    /// Frames that are said at once.
    step: usize,
    next: Instant,
}

impl Pace {
    fn new(speed: Option<f64>) -> Self {
        Self {
            speed,
            step: if speed.is_some() { RECORD } else { AT_ONCE },
            next: Instant::now(),
        }
    }

    fn wait(&mut self, frames: usize) {
        if let Some(speed) = self.speed {
            self.next += Duration::from_secs_f64(frames as f64 / f64::from(SAMPLE_RATE) / speed);
            thread::sleep(self.next.saturating_duration_since(Instant::now()));
        }
    }
}

/// The name of a file's session: the file's own, of harmless characters, and the beginning of its digest. So the same file is the same
/// session, and another one of the same name is another.
fn name(path: &Path) -> Result<String> {
    let mut digest = Context::new(&SHA256);
    let mut read = || {
        let (mut file, mut buffer) = (File::open(path)?, vec![0; 1 << 16]);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok::<_, std::io::Error>(()),
                length => digest.update(&buffer[..length]),
            }
        }
    };
    read().with_context(|| format!("reading {}", path.display()))?;
    let digest = digest.finish();
    let digest: String = digest
        .as_ref()
        .iter()
        .take(DIGEST)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let harmless = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let stem: String = stem.chars().map(harmless).take(LONGEST_STEM).collect();
    Ok(format!("{stem}-{digest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_file_is_the_same_session() {
        let folder = tempfile::tempdir().unwrap();
        let named = |file: &str, bytes: &[u8]| {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, bytes).unwrap();
            name(&path).unwrap()
        };
        assert_eq!(named("x/a talk.wav", b"1"), "a_talk-6b86b273");
        assert_eq!(named("y/a talk.wav", b"1"), "a_talk-6b86b273");
        assert_ne!(named("x/a talk.wav", b"2"), "a_talk-6b86b273");
    }
}
