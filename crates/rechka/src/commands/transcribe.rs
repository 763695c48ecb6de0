//! `rechka transcribe FILE…`.
use std::{
    collections::{HashMap, VecDeque},
    ffi::OsStr,
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, bail, ensure};
use indicatif::MultiProgress;
use rechka_speech::{
    Segment,
    audio::{AudioFile, Vad, VadOptions},
    live::Recording,
    text::Transcription,
    whisper::Task,
};

use crate::{
    cli::{TaskArg, TextFormat, Transcribe},
    model::LoadedModel,
    progress,
};

/// Transcribes all files; the readable ones even when others are not.
pub fn run(arguments: &Transcribe) -> Result<()> {
    let outputs = outputs(arguments)?;
    let model = arguments.model.load()?;
    let bars = MultiProgress::new();
    let waiting: Mutex<VecDeque<_>> = Mutex::new(arguments.files.iter().zip(outputs).collect());
    let workers = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(arguments.files.len());
    let failed = std::thread::scope(|scope| {
        let work = || {
            let mut failed = 0;
            loop {
                let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some((input, output)) = next else { break failed };
                if let Err(error) = transcribe(&model, arguments, input, output.as_deref(), &bars) {
                    failed += 1;
                    bars.suspend(|| eprintln!("rechka: {}: {error:#}", input.display()));
                }
            }
        };
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        running
            .into_iter()
            .map(|worker| worker.join().unwrap_or(1))
            .sum::<usize>()
    });
    if failed > 0 {
        bail!(
            "{failed} of {} inputs could not be read to their end",
            arguments.files.len()
        );
    }
    Ok(())
}

/// Where each input's text goes; `None` is standard output.
fn outputs(arguments: &Transcribe) -> Result<Vec<Option<PathBuf>>> {
    let Some(folder) = &arguments.output else {
        ensure!(
            arguments.files.len() == 1,
            "several inputs need a folder for their texts: add -o DIR"
        );
        return Ok(vec![None]);
    };
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let extension = match arguments.format {
        TextFormat::Txt => "txt",
        TextFormat::Json => "json",
        TextFormat::Srt => "srt",
        TextFormat::Vtt => "vtt",
        TextFormat::Jsonl => "jsonl",
    };
    let mut taken: HashMap<PathBuf, &PathBuf> = HashMap::new();
    let mut outputs = Vec::new();
    for input in &arguments.files {
        let stem = if is_standard_input(input) {
            OsStr::new("stdin")
        } else {
            input.file_stem().unwrap_or_default()
        };
        let mut name = stem.to_owned();
        name.push(".");
        name.push(extension);
        let output = folder.join(name);
        if let Some(other) = taken.insert(output.clone(), input) {
            bail!(
                "{} and {} would both be written to {}",
                other.display(),
                input.display(),
                output.display()
            );
        }
        outputs.push(Some(output));
    }
    Ok(outputs)
}

fn is_standard_input(input: &Path) -> bool {
    input.as_os_str() == "-"
}

/// Transcribes one input as far as it can be read, and writes that; then says what could not be read.
fn transcribe(
    model: &LoadedModel,
    arguments: &Transcribe,
    input: &Path,
    output: Option<&Path>,
    bars: &MultiProgress,
) -> Result<()> {
    let file = if is_standard_input(input) {
        AudioFile::from_reader(std::io::stdin())?
    } else {
        AudioFile::open(input)?
    };
    let bar = bars.add(progress::of_audio(&file, input));
    let transcriber = &model.transcriber;
    let mut config = model.recording.clone();
    config.options.language = arguments.model.language();
    config.options.task = match arguments.task {
        TaskArg::Transcribe => Task::Transcribe,
        TaskArg::Translate => Task::Translate,
    };
    let task = config.options.task;
    let mut recording = Recording::new(config, Vad::new(VadOptions::default()));
    let mut segments: Vec<Segment> = Vec::new();
    let mut broken = None;
    for chunk in file {
        match chunk {
            Ok(samples) => segments.extend(recording.push(&samples, |requests| transcriber.transcribe(requests))?),
            Err(error) => broken = broken.or(Some(error)),
        }
        bar.set_position((recording.duration() * 1000.0) as u64);
    }
    segments.extend(recording.finish(|requests| transcriber.transcribe(requests))?);
    bar.finish_and_clear();

    let transcription = Transcription {
        task,
        language: recording.language().unwrap_or("en").to_owned(),
        duration: recording.duration(),
        segments,
    };
    let text = match arguments.format {
        TextFormat::Txt => transcription.to_txt(),
        TextFormat::Json => transcription.to_verbose_json(),
        TextFormat::Srt => transcription.to_srt(),
        TextFormat::Vtt => transcription.to_vtt(),
        TextFormat::Jsonl => transcription.to_jsonl(),
    };
    match output {
        Some(path) => fs::write(path, text).with_context(|| format!("writing {}", path.display()))?,
        None => std::io::stdout()
            .write_all(text.as_bytes())
            .context("writing to standard output")?,
    }
    broken.map_or(Ok(()), |error| Err(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn parsed(line: &[&str]) -> Transcribe {
        match Cli::try_parse_from([&["rechka", "transcribe"], line].concat()).map(|cli| cli.command) {
            Ok(Command::Transcribe(arguments)) => arguments,
            _ => panic!("{line:?} is a transcribe command"),
        }
    }

    #[test]
    fn each_input_gets_a_file_named_after_its_stem() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().to_str().unwrap();
        let outputs = outputs(&parsed(&["-o", folder, "--format", "srt", "x/a.wav", "b.c.mp3", "-"])).unwrap();
        let names: Vec<_> = outputs
            .iter()
            .flatten()
            .map(|path| path.file_name().unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["a.srt", "b.c.srt", "stdin.srt"]);
    }

    #[test]
    fn texts_are_never_written_over_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let error = outputs(&parsed(&["-o", folder.path().to_str().unwrap(), "a.wav", "x/a.mp3"])).unwrap_err();
        assert!(error.to_string().contains("x/a.mp3"), "{error}");
        let error = outputs(&parsed(&["a.wav", "b.wav"])).unwrap_err();
        assert!(error.to_string().contains("-o DIR"), "{error}");
    }
}
