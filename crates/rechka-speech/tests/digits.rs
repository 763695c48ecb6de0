//! The bundled model on recordings of real speech (`../shared/data/fsdd`, where it is; elsewhere these tests only say so).
#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::path::{Path, PathBuf};

use rechka_speech::audio::Resampler;
use rechka_speech::whisper::{AlignAtt, Context, Options, Precision, Request, Transcriber};

const WORDS: [&str; 10] = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
];
const RATE: f64 = 16_000.0;
/// The word error that must not be reached: twice what the model makes of these few strings. Its card states its quality.
const BOUND: f64 = 0.16;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The recordings, `None` where they are not at hand.
fn recordings() -> Option<PathBuf> {
    let places = [
        root().join("../shared/data/fsdd"),
        root().join("../../shared/data/fsdd"),
    ];
    let found = places.into_iter().find(|place| place.is_dir());
    if found.is_none() {
        eprintln!("skipped: no recordings at ../shared/data/fsdd");
    }
    found
}

fn transcriber(precision: Precision) -> Transcriber {
    Transcriber::load(&root().join("models/digits"), precision).unwrap()
}

/// The samples of a recording at 16 kHz.
fn recording(folder: &Path, digit: usize, speaker: &str, index: usize) -> Vec<f32> {
    let wav = std::fs::read(folder.join(format!("{digit}_{speaker}_{index}.wav"))).unwrap();
    let samples: Vec<f32> = wav[44..]
        .chunks_exact(2)
        .map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32768.0)
        .collect();
    let mut resampler = Resampler::new(8000).unwrap();
    let mut output = Vec::new();
    resampler.push(&samples, &mut output);
    resampler.finish(&mut output);
    output
}

/// A string of digits by one speaker.
struct Utterance {
    audio: Vec<f32>,
    text: String,
    /// Where each digit's recording begins and ends, in seconds.
    spans: Vec<(f64, f64)>,
}

/// Strings of 1 to 8 digits with pauses, always the same.
fn utterances(folder: &Path, count: usize) -> Vec<Utterance> {
    let speakers = ["george", "jackson", "lucas", "nicolas", "theo", "yweweler"];
    let mut state = 1u32;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as usize % below
    };
    let utterance = |_| {
        let speaker = speakers[draw(speakers.len())];
        let mut audio = vec![0.0; 1600 + draw(4800)];
        let (mut words, mut spans) = (Vec::new(), Vec::new());
        for _ in 0..1 + draw(8) {
            let digit = draw(10);
            let recording = recording(folder, digit, speaker, 5 + draw(45));
            let start = audio.len() as f64 / RATE;
            audio.extend(recording);
            spans.push((start, audio.len() as f64 / RATE));
            words.push(WORDS[digit]);
            audio.extend(vec![0.0; 1600 + draw(4800)]);
        }
        Utterance {
            audio,
            text: words.join(" "),
            spans,
        }
    };
    (0..count).map(utterance).collect()
}

/// Word errors over words of what `options` make of the utterances.
fn word_error(transcriber: &Transcriber, utterances: &[Utterance], options: &Options) -> f64 {
    let requests: Vec<Request<'_>> = utterances.iter().map(|utterance| utterance.request(options)).collect();
    let (mut words, mut errors) = (0, 0);
    for (utterance, hypothesis) in utterances.iter().zip(transcriber.transcribe(&requests)) {
        let (said, wrong) = word_errors(&utterance.text, &hypothesis.unwrap().text());
        words += said;
        errors += wrong;
    }
    f64::from(errors) / f64::from(words)
}

impl Utterance {
    fn request<'a>(&'a self, options: &'a Options) -> Request<'a> {
        Request {
            audio: &self.audio,
            prompt: "",
            prefix: "",
            options,
        }
    }
}

fn greedy() -> Options {
    Options {
        temperatures: vec![0.0],
        word_times: true,
        ..Options::default()
    }
}

#[test]
fn strings_of_digits_are_heard_with_whole_and_8_bit_numbers_with_and_without_padding() {
    let Some(folder) = recordings() else { return };
    let utterances = utterances(&folder, 12);
    let exact = transcriber(Precision::F32);
    let unpadded = word_error(&exact, &utterances, &greedy());
    let padded = word_error(
        &exact,
        &utterances,
        &Options {
            context: Context::Padded,
            ..greedy()
        },
    );
    let beam = word_error(
        &exact,
        &utterances,
        &Options {
            beam_size: 5,
            ..greedy()
        },
    );
    let int8 = word_error(&transcriber(Precision::Int8), &utterances, &greedy());
    eprintln!("word error: unpadded {unpadded:.3}, padded {padded:.3}, beam {beam:.3}, 8 bits {int8:.3}");
    for error in [unpadded, padded, beam, int8] {
        assert!(error < BOUND, "{error}");
    }
}

#[test]
fn words_lie_where_they_were_said() {
    let Some(folder) = recordings() else { return };
    let utterances = utterances(&folder, 12);
    let options = greedy();
    let requests: Vec<Request<'_>> = utterances.iter().map(|utterance| utterance.request(&options)).collect();
    let (mut compared, mut near) = (0, 0);
    for (utterance, hypothesis) in utterances
        .iter()
        .zip(transcriber(Precision::Int8).transcribe(&requests))
    {
        let hypothesis = hypothesis.unwrap();
        if hypothesis.text() != utterance.text {
            continue;
        }
        let words: Vec<_> = hypothesis.segments.iter().flat_map(|segment| &segment.words).collect();
        assert_eq!(words.len(), utterance.spans.len());
        for (word, (start, end)) in words.iter().zip(&utterance.spans) {
            assert!((0.0..=1.0).contains(&word.probability));
            // A word may take the pause before it, up to 0.4 s here, but its middle is within it or close.
            let middle = (word.start + word.end) / 2.0;
            near += usize::from(middle > start - 0.2 && middle < end + 0.2);
            compared += 1;
        }
    }
    eprintln!("{near} of {compared} words lie where they were said");
    assert!(compared > 25 && near * 10 >= compared * 9, "{near} of {compared}");
}

#[test]
fn align_att_says_only_what_it_will_not_take_back() {
    let Some(folder) = recordings() else { return };
    let transcriber = transcriber(Precision::Int8);
    let (mut words, mut errors, mut early) = (0, 0, 0);
    for utterance in utterances(&folder, 12) {
        let mut said = String::new();
        let chunks = utterance.audio.len().div_ceil(16_000);
        for chunk in 1..=chunks {
            let last = chunk == chunks;
            let audio = &utterance.audio[..utterance.audio.len().min(chunk * 16_000)];
            let options = Options {
                align_att: Some(AlignAtt::new(last)),
                ..greedy()
            };
            let request = Request {
                audio,
                prompt: "",
                prefix: &said,
                options: &options,
            };
            let hypothesis = transcriber.transcribe(&[request]).remove(0).unwrap();
            said = format!("{said} {}", hypothesis.text()).trim().to_owned();
            if !last {
                early += hypothesis.text().split_whitespace().count();
            }
        }
        let (spoken, wrong) = word_errors(&utterance.text, &said);
        words += spoken;
        errors += wrong;
    }
    eprintln!("AlignAtt: {errors} errors in {words} words, {early} said before the end");
    assert!(early > words as usize / 4, "{early} of {words}");
    assert!(f64::from(errors) < BOUND * f64::from(words), "{errors} of {words}");
}

#[test]
fn the_same_audio_gives_the_same_bits_alone_and_in_any_batch() {
    let Some(folder) = recordings() else { return };
    let transcriber = transcriber(Precision::Int8);
    let utterances = utterances(&folder, 6);
    let options = Options {
        word_times: true,
        ..Options::default()
    };
    let requests: Vec<Request<'_>> = utterances.iter().map(|utterance| utterance.request(&options)).collect();
    let together = transcriber.transcribe(&requests);
    for (request, together) in requests.iter().zip(together) {
        assert_eq!(
            transcriber.transcribe(&[*request]).remove(0).unwrap(),
            together.unwrap()
        );
    }
}

/// Words of the truth, and the edit distance to what was heard.
fn word_errors(truth: &str, heard: &str) -> (u32, u32) {
    let truth: Vec<&str> = truth.split_whitespace().collect();
    let heard: Vec<&str> = heard.split_whitespace().collect();
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (i, word) in truth.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in heard.iter().enumerate() {
            let substitution = diagonal + usize::from(word != other);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(row[j] + 1).min(diagonal + 1);
        }
    }
    (truth.len() as u32, row[heard.len()] as u32)
}
