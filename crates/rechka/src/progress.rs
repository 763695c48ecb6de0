//! Bars of what takes a while.
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use rechka_speech::audio::AudioFile;

/// Of a file's sound, in milliseconds.
pub fn of_audio(file: &AudioFile, input: &Path) -> ProgressBar {
    let name = input
        .file_name()
        .unwrap_or(input.as_os_str())
        .to_string_lossy()
        .into_owned();
    let (bar, template) = match file.duration() {
        Some(seconds) => (
            ProgressBar::new((seconds * 1000.0) as u64),
            "{msg} [{bar:40}] {percent} %, {eta} left",
        ),
        None => (ProgressBar::new_spinner(), "{msg} {spinner} {elapsed}"),
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style.progress_chars("━╸─")).with_message(name)
}
