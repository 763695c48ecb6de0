//! Voice activity on real speech: digits of the Free Spoken Digit Dataset, 8 kHz. Skipped where the recordings are
//! absent (`RECHKA_FSDD` names their folder, by default `../shared/data/fsdd` beside the repository).
#![allow(clippy::unwrap_used, clippy::expect_used)]
use rechka_speech::audio::{Encoding, PcmFormat, PcmStream, SAMPLE_RATE, Vad, VadEvent, VadOptions};
use std::path::{Path, PathBuf};

/// Every 27th recording: a hundred, of all digits and speakers.
fn recordings() -> Vec<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/fsdd");
    let folder = std::env::var_os("RECHKA_FSDD").map_or(default, PathBuf::from);
    let Ok(files) = std::fs::read_dir(&folder) else {
        eprintln!("skipped: no recordings in {}", folder.display());
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "wav"));
    files.sort();
    files.into_iter().step_by(27).collect()
}

/// A recording at 16 kHz; all have the same 44 bytes of header.
fn speech(file: &Path) -> Vec<f32> {
    let bytes = std::fs::read(file).unwrap();
    let mut stream = PcmStream::new(PcmFormat::new(Encoding::S16Le, 8_000, 1).unwrap()).unwrap();
    let mut speech = Vec::new();
    stream.push(&bytes[44..], &mut speech);
    stream.finish(&mut speech);
    speech
}

/// The first and last sample of what is within 20 dB of the loudest 10 ms.
fn bounds(speech: &[f32]) -> (usize, usize) {
    let energy: Vec<f32> = speech
        .chunks(160)
        .map(|part| part.iter().map(|sample| sample * sample).sum())
        .collect();
    let loud = 0.01 * energy.iter().copied().fold(0.0, f32::max);
    let first = energy.iter().position(|part| *part > loud).unwrap();
    let last = energy.iter().rposition(|part| *part > loud).unwrap();
    (first * 160, (last + 1) * 160)
}

#[test]
fn every_digit_in_quiet_is_found_whole() {
    let second = SAMPLE_RATE as usize;
    for file in recordings() {
        let speech = speech(&file);
        let (first, last) = bounds(&speech);
        let mut audio = vec![0.0; 2 * second];
        audio.extend(&speech);
        audio.resize(audio.len() + second, 0.0);
        let (mut vad, mut events) = (Vad::new(VadOptions::default()), Vec::new());
        vad.push(&audio, &mut events);
        vad.finish(&mut events);
        let [
            VadEvent::SpeechStart { sample: start },
            ..,
            VadEvent::SpeechEnd { sample: end },
        ] = events[..]
        else {
            panic!("{}: {events:?}", file.display());
        };
        let (first, last) = (2 * second + first, 2 * second + last);
        assert!(
            start as usize <= first,
            "{}: starts at {start}, speech at {first}",
            file.display()
        );
        assert!(
            end as usize >= last,
            "{}: ends at {end}, speech at {last}",
            file.display()
        );
    }
}
