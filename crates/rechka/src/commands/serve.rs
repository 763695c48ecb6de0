//! `rechka serve`.
use anyhow::{Result, bail};
use rechka_log::Log;
use rechka_types::topics;

use crate::{
    captions::{self, Recognition},
    cli::Serve,
    location::LogLocation,
    runtime,
};

/// Serves until it is interrupted.
pub fn run(arguments: &Serve) -> Result<()> {
    if arguments.no_recognition && matches!(arguments.log.log, LogLocation::Embedded(_)) {
        bail!(
            "an embedded log has one process, which must recognise too: say --log kafka://HOST:PORT, or leave --no-recognition out"
        );
    }
    let log = arguments.log.log.open()?;
    let recognition = match arguments.no_recognition {
        true => Recognition::Elsewhere,
        false => Recognition::Here {
            model: &arguments.model,
            audio: arguments.audio.as_ref(),
            worker: arguments.worker.worker(),
        },
    };
    runtime::run(async {
        let service = captions::start(&log, recognition, &arguments.listen).await?;
        println!("rechka listens on http://{}", service.address);
        if arguments.audio.is_some() {
            warn_of_partitions(&*log)?;
        }
        service.serve_and_tell(false, runtime::interrupted()).await
    })
}

/// Whoever says what bare records are probably has some without key.
fn warn_of_partitions(log: &dyn Log) -> Result<()> {
    let topics = log.topics()?;
    let audio = topics.iter().find(|spec| &*spec.name == topics::AUDIO);
    if let Some(spec) = audio.filter(|spec| spec.partitions > 1) {
        eprintln!(
            "{} has {} partitions: records without key go to {}, as their order is lost. Give the session's name as key, or begin anew \
             with a topic of one partition",
            spec.name,
            spec.partitions,
            topics::dead(topics::AUDIO)
        );
    }
    Ok(())
}
