//! Voice activity on real speech: digits of the Free Spoken Digit Dataset, 8 kHz. Skipped where the recordings are
//! absent (`RECHKA_FSDD` names their folder, by default `../shared/data/fsdd` beside the repository).
#![allow(clippy::unwrap_used, clippy::expect_used)]
use rechka_speech::audio::{Encoding, MonoDecoder, PcmFormat, Resampler, SAMPLE_RATE, Vad, VadEvent, VadOptions};
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

/// A recording's samples at 8 kHz; all have the same 44 bytes of header.
fn recorded(file: &Path) -> Vec<f32> {
    let mut samples = Vec::new();
    let format = PcmFormat::new(Encoding::S16Le, 8_000, 1).unwrap();
    MonoDecoder::new(format).push(&std::fs::read(file).unwrap()[44..], &mut samples);
    samples
}

fn at_16_kilohertz(samples: &[f32]) -> Vec<f32> {
    let (mut resampler, mut output) = (Resampler::new(8_000).unwrap(), Vec::new());
    resampler.push(samples, &mut output);
    resampler.finish(&mut output);
    output
}

fn hear(audio: &[f32]) -> Vec<VadEvent> {
    let (mut vad, mut events) = (Vad::new(VadOptions::default()), Vec::new());
    vad.push(audio, &mut events);
    vad.finish(&mut events);
    events
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
        let speech = at_16_kilohertz(&recorded(&file));
        let (first, last) = bounds(&speech);
        let mut audio = vec![0.0; 2 * second];
        audio.extend(&speech);
        audio.resize(audio.len() + second, 0.0);
        let events = hear(&audio);
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

#[test]
fn nearly_all_digits_in_telephone_noise_at_10_decibels_are_found_and_nothing_else() {
    let mut state = 1_u32;
    let (files, mut found) = (recordings(), 0);
    for file in &files {
        let speech = recorded(file);
        let power = speech.iter().map(|sample| sample * sample).sum::<f32>() / speech.len() as f32;
        // Uniform noise of a tenth of the power, two seconds before and after.
        let peak = (power / 10.0 * 3.0).sqrt();
        let mut audio = vec![0.0; 16_000];
        audio.extend(speech);
        audio.resize(audio.len() + 16_000, 0.0);
        for sample in &mut audio {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *sample += peak * (state as f32 / 2_147_483_648.0 - 1.0);
        }
        let events = hear(&at_16_kilohertz(&audio));
        let starts = events.iter().filter_map(|event| match event {
            VadEvent::SpeechStart { sample } => Some(*sample),
            _ => None,
        });
        for start in starts {
            assert!(start > 24_000, "{}: {events:?}", file.display());
            found += 1;
        }
    }
    assert!(
        found <= files.len() && 100 * found >= 97 * files.len(),
        "{found} of {}",
        files.len()
    );
}
