//! A sound file to text: `cargo run --release -p rechka-speech --example transcribe -- FILE [MODEL]`.
//!
//! MODEL is the bundled `digits`, a folder with a Whisper checkpoint, or a model of the hub such as `openai/whisper-base`.
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use rechka_speech::Segment;
use rechka_speech::audio::{AudioFile, SAMPLE_RATE, Vad, VadOptions};
use rechka_speech::live::{Recording, RecordingConfig};
use rechka_speech::whisper::{Hub, Precision, Transcriber};

fn main() -> ExitCode {
    match transcribe(std::env::args().nth(1), std::env::args().nth(2)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn transcribe(file: Option<String>, model: Option<String>) -> Result<(), Box<dyn Error>> {
    let file = file.ok_or("usage: transcribe FILE [MODEL]")?;
    let model = model.unwrap_or_else(|| "digits".to_owned());
    let digits = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/digits"));
    let folder = Hub::from_env().resolve(&model, &[("digits", digits)], &mut |_| ())?;
    let transcriber = Transcriber::load(&folder, Precision::Int8)?;

    let window = transcriber.window() as f64 / f64::from(SAMPLE_RATE);
    let config = RecordingConfig::for_model(&folder, window)?;
    let mut recording = Recording::new(config, Vad::new(VadOptions::default()));
    for samples in AudioFile::open(file)? {
        print(recording.push(&samples?, |requests| transcriber.transcribe(requests))?);
    }
    print(recording.finish(|requests| transcriber.transcribe(requests))?);
    Ok(())
}

fn print(segments: Vec<Segment>) {
    for segment in segments {
        println!("{:7.2} {:7.2} {}", segment.start, segment.end, segment.text);
    }
}
