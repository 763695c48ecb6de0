//! Decoding of files: one fixture of every format, all of the same tone (`fixtures/audio/make.sh`), whole, cut and
//! damaged.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use proptest::prelude::*;
use rechka_speech::audio::{AudioError, AudioFile, SAMPLE_RATE, encode_wav};
use std::f64::consts::{PI, TAU};
use std::io::Cursor;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/audio")
        .join(name)
}

fn fixtures() -> Vec<String> {
    let files = std::fs::read_dir(fixture("")).unwrap();
    let mut names: Vec<String> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.retain(|name| name != "make.sh");
    names.sort();
    assert!(names.len() > 10, "{names:?}");
    names
}

/// What the fixtures hold, at 16 kHz.
fn tone() -> Vec<f32> {
    let at = |t: f64| 0.5 * (PI * t / 0.6).sin() * (TAU * (300.0 * t + 1_000.0 * t * t)).sin();
    (0..9_600)
        .map(|n| at(f64::from(n) / f64::from(SAMPLE_RATE)) as f32)
        .collect()
}

/// All that can be read, and the errors.
fn read(file: AudioFile) -> (Vec<f32>, Vec<AudioError>) {
    let (mut samples, mut errors) = (Vec::new(), Vec::new());
    for piece in file {
        match piece {
            Ok(piece) => samples.extend(piece),
            Err(error) => errors.push(error),
        }
    }
    (samples, errors)
}

/// The best correlation of `audio` with the tone, and how many samples late it is there.
fn match_tone(audio: &[f32]) -> (f32, i64) {
    let tone = tone();
    let energy = |samples: &[f32]| samples.iter().map(|sample| sample * sample).sum::<f32>();
    let all = (energy(&tone) * energy(audio)).sqrt();
    let correlation = |late: i64| -> f32 {
        let place = |n: usize| usize::try_from(n as i64 + late).ok();
        let pairs = tone
            .iter()
            .enumerate()
            .filter_map(|(n, tone)| Some((tone, audio.get(place(n)?)?)));
        pairs.map(|(a, b)| a * b).sum::<f32>() / all
    };
    (-400..400)
        .map(|late| (correlation(late), late))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .unwrap()
}

#[test]
fn every_format_gives_the_tone_at_its_time() {
    for name in fixtures() {
        let (audio, errors) = read(AudioFile::open(fixture(&name)).unwrap());
        assert!(errors.is_empty(), "{name}: {errors:?}");
        // WebM and AAC leave the padding of the last packet in.
        assert!(
            (9_600..=10_100).contains(&audio.len()),
            "{name}: {} samples",
            audio.len()
        );
        let (correlation, late) = match_tone(&audio);
        let least = if name.contains("aac") || name.contains("m4a") {
            0.93
        } else {
            0.99
        };
        assert!(correlation > least, "{name}: correlation {correlation}");
        assert!(late.abs() <= 8, "{name}: {late} samples late");
    }
}

#[test]
fn the_duration_is_known_before_reading_where_the_file_says_it() {
    for name in [
        "pcm_s16.wav",
        "stereo.flac",
        "tone.mp3",
        "aac.m4a",
        "vorbis.ogg",
        "opus.ogg",
    ] {
        let mut file = AudioFile::open(fixture(name)).unwrap();
        let duration = file.duration().unwrap_or_else(|| panic!("{name}: no duration"));
        assert!((0.59..0.63).contains(&duration), "{name}: {duration}");
        assert_eq!(file.seconds_read(), 0.0);
        while file.next().is_some() {}
        assert!(
            (file.seconds_read() - duration).abs() < 0.03,
            "{name}: {}",
            file.seconds_read()
        );
    }
}

#[test]
fn a_stream_that_can_not_seek_gives_the_same() {
    for name in fixtures() {
        if name == "aac.m4a" {
            continue; // Its index is at the end.
        }
        let bytes = std::fs::read(fixture(&name)).unwrap();
        let (streamed, errors) = read(AudioFile::from_reader(Cursor::new(bytes)).unwrap());
        assert!(errors.is_empty(), "{name}: {errors:?}");
        assert!(
            (9_600..=10_100).contains(&streamed.len()),
            "{name}: {} samples",
            streamed.len()
        );
        assert!(match_tone(&streamed).0 > 0.93, "{name}");
    }
}

#[test]
fn a_written_wav_is_read_back() {
    let samples = [0.0, 0.25, -0.5, 1.0, -1.0, 2.0, f32::NAN];
    let wav = encode_wav(&samples, SAMPLE_RATE);
    assert_eq!(wav.len(), 44 + 2 * samples.len());
    let (audio, errors) = read(AudioFile::from_bytes(wav).unwrap());
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(
        audio,
        [0.0, 0.25, -0.5, 32_767.0 / 32_768.0, -1.0, 32_767.0 / 32_768.0, 0.0]
    );
}

#[test]
fn a_wav_that_was_written_to_a_pipe_is_read_to_its_end() {
    // Who can't go back to fill in the sizes leaves them at their largest.
    let mut wav = encode_wav(&tone(), SAMPLE_RATE);
    wav[4..8].fill(0xFF);
    wav[40..44].fill(0xFF);
    for file in [
        AudioFile::from_bytes(wav.clone()).unwrap(),
        AudioFile::from_reader(Cursor::new(wav)).unwrap(),
    ] {
        assert_eq!(file.duration(), None);
        let (audio, errors) = read(file);
        assert!(errors.is_empty(), "{errors:?}");
        assert!(match_tone(&audio).0 > 0.999);
    }
}

#[test]
fn a_file_that_was_cut_off_gives_what_is_there_and_says_where_it_ends() {
    for name in [
        "pcm_s16.wav",
        "mulaw.wav",
        "tone.mp3",
        "faststart.m4a",
        "flac.mkv",
        "opus.webm",
    ] {
        let mut bytes = std::fs::read(fixture(name)).unwrap();
        bytes.truncate(bytes.len() * 6 / 10);
        let file = AudioFile::from_bytes(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (audio, errors) = read(file);
        assert!(
            (3_000..8_000).contains(&audio.len()),
            "{name}: {} samples, {errors:?}",
            audio.len()
        );
        let [.., AudioError::CutOff { at, .. }] = errors[..] else {
            panic!("{name}: {errors:?}")
        };
        assert!((at - audio.len() as f64 / 16_000.0).abs() < 0.05, "{name}: {at}");
    }
}

#[test]
fn a_damaged_packet_becomes_silence_of_its_length_and_an_error() {
    let mut bytes = std::fs::read(fixture("flac.mkv")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 40].fill(0x55);
    let (audio, errors) = read(AudioFile::from_bytes(bytes).unwrap());
    assert!(
        (9_500..9_700).contains(&audio.len()),
        "{} samples, {errors:?}",
        audio.len()
    );
    let [AudioError::Broken { at, .. }] = errors[..] else {
        panic!("{errors:?}")
    };
    assert!((0.15..0.45).contains(&at), "{at}");
    let tone = tone();
    for range in [500..2_500, 7_000..9_000] {
        let off = range.map(|n| (audio[n] - tone[n]).abs()).fold(0.0, f32::max);
        assert!(off < 0.01, "off by {off}");
    }
}

#[test]
fn what_is_no_audio_is_refused_with_the_formats_that_are_known() {
    for bytes in [b"".to_vec(), b"Dear diary, ".repeat(500), vec![0; 100_000]] {
        let error = AudioFile::from_bytes(bytes).err().unwrap();
        assert!(matches!(error, AudioError::NotAudio), "{error}");
        assert!(error.to_string().contains("FLAC"), "{error}");
    }
    let error = AudioFile::open("no/such/file.wav").err().unwrap().to_string();
    assert!(error.contains("no/such/file.wav"), "{error}");
    assert!(AudioFile::open(fixture("")).is_err());
}

/// Damage: bytes that are replaced, at places given as a fraction of the file.
fn damage() -> impl Strategy<Value = Vec<(f64, u8)>> {
    prop::collection::vec((0.0..1.0, any::<u8>()), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damaged_files_never_panic_and_never_grow(
        name in prop::sample::select(fixtures()),
        damage in damage(),
        keep in 0.1_f64..1.5,
        head in any::<bool>(),
    ) {
        let mut bytes = std::fs::read(fixture(&name)).unwrap();
        // Half of the time only the head is damaged, where sizes and counts are.
        let span = if head { bytes.len().min(300) } else { bytes.len() } as f64;
        for (place, value) in damage {
            bytes[(place * span) as usize] = value;
        }
        bytes.truncate((keep * bytes.len() as f64) as usize);
        if let Ok(file) = AudioFile::from_bytes(bytes) {
            let mut samples = 0;
            for piece in file.take(20_000).flatten() {
                prop_assert!(piece.iter().all(|sample| sample.is_finite()));
                samples += piece.len();
            }
            // A damaged rate of 1 kHz makes 16 times the samples; more than that nothing may make of so few bytes.
            prop_assert!(samples < 16 * 20 * 16_000, "{name}: {samples} samples");
        }
    }

    #[test]
    fn bytes_that_are_anything_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..5_000)) {
        if let Ok(file) = AudioFile::from_bytes(bytes) {
            file.take(20_000).for_each(drop);
        }
    }
}
