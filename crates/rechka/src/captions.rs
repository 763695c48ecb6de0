//! `pipelines/captions.sql`, carried in the binary: what `rechka demo` and `rechka serve` run.
use std::{path::Path, sync::Arc};

use anyhow::Result;
use rechka_engine::{Outside, RunOptions, pipelines};
use rechka_log::{Log, Worker};
use rechka_sql::{Mode, Pipeline, plan::Precision};

use crate::{
    bare_audio::BareAudio,
    cli::{ListenArgs, ModelArgs, PrecisionArg},
    models,
    queries::Queries,
    service::Service,
};

/// The name under which others find the pipeline in the log.
const NAME: &str = "captions";
const TEXT: &str = include_str!("../../../pipelines/captions.sql");
/// What it says of the audio.
const DECLARED: &str = "format = 'audio', partitions = 4";

/// Who recognises.
pub enum Recognition<'a> {
    /// This process.
    Here {
        /// With this model instead of the text's own.
        model: &'a ModelArgs,
        /// What records are that don't say it.
        audio: Option<&'a BareAudio>,
        /// The process, as others see it.
        worker: Worker,
    },
    /// Others, over the same log.
    Elsewhere,
}

/// Starts the page, and what recognises.
pub async fn start(log: &Arc<dyn Log>, recognition: Recognition<'_>, listen: &ListenArgs) -> Result<Service> {
    let folder = std::env::current_dir()?;
    let Recognition::Here { model, audio, worker } = recognition else {
        return Service::start(
            log,
            &Pipeline::new(Mode::Stream, &folder),
            |_| RunOptions::default(),
            listen,
        )
        .await;
    };
    let text = text(audio);
    let pipeline = pipeline(&**log, &text, &folder, model)?;
    pipelines::create_topics(&**log, &pipeline)?;
    pipelines::publish(&**log, NAME, &text, &folder)?;
    Queries::create_status_topic(&**log)?;
    let speech = models::speech(&folder);
    let options = |_: &_| RunOptions {
        speech: speech.clone(),
        worker: worker.clone(),
        ..RunOptions::default()
    };
    Service::start(log, &pipeline, options, listen).await
}

/// The pipeline over what records say, or over bare sound; that may come without key, and wants one partition then.
fn text(audio: Option<&BareAudio>) -> String {
    match audio {
        Some(audio) => TEXT.replace(DECLARED, &audio.options()),
        None => TEXT.to_owned(),
    }
}

fn pipeline(log: &dyn Log, text: &str, folder: &Path, model: &ModelArgs) -> Result<Pipeline> {
    let mut pipeline = Pipeline::read(text, folder, &Outside::new(folder).over(log)?)?;
    for transcribe in pipeline
        .running
        .iter_mut()
        .filter_map(|running| running.query.transcribes_mut())
    {
        transcribe.model = model.model.as_str().into();
        transcribe.language = model.language().map(Into::into);
        transcribe.precision = match model.precision {
            PrecisionArg::Int8 => Precision::Int8,
            PrecisionArg::F32 => Precision::F32,
        };
    }
    Ok(pipeline)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_sound_is_declared_with_one_partition() {
        let audio = "s16le:44100".parse().unwrap();
        let text = text(Some(&audio));
        let declared =
            "CREATE STREAM audio WITH (topic = 'audio-stream', format = 's16le', rate = 44100, channels = 1);";
        assert!(text.contains(declared), "{text}");
    }
}
