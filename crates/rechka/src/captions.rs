//! `pipelines/captions.sql`, carried in the binary: what `rechka demo` and `rechka serve` run.
use std::{path::Path, sync::Arc};

use anyhow::Result;
use rechka_engine::{Outside, RunOptions, pipelines};
use rechka_log::Log;
use rechka_sql::{Pipeline, plan::Precision};

use crate::{
    cli::{ModelArgs, PrecisionArg},
    models,
    queries::Queries,
    service::Service,
};

/// The name under which others find the pipeline in the log.
const NAME: &str = "captions";
const TEXT: &str = include_str!("../../../pipelines/captions.sql");

/// Starts it with the model that the command line asks for instead of its own.
pub async fn start(log: &Arc<dyn Log>, model: &ModelArgs, listen: &str) -> Result<Service> {
    let folder = std::env::current_dir()?;
    let pipeline = pipeline(&**log, &folder, model)?;
    pipelines::create_topics(&**log, &pipeline)?;
    pipelines::publish(&**log, NAME, TEXT, &folder)?;
    Queries::create_status_topic(&**log)?;
    let speech = models::speech(&folder);
    let options = |_: &_| RunOptions {
        speech: speech.clone(),
        ..RunOptions::default()
    };
    Service::start(log, &pipeline, options, listen).await
}

fn pipeline(log: &dyn Log, folder: &Path, model: &ModelArgs) -> Result<Pipeline> {
    let mut pipeline = Pipeline::read(TEXT, folder, &Outside::new(folder).over(log)?)?;
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
