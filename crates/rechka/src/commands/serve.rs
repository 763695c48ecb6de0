//! `rechka serve`.
use anyhow::Result;

use crate::{captions, cli::Serve, runtime};

/// Serves until it is interrupted.
pub fn run(arguments: &Serve) -> Result<()> {
    let log = arguments.log.log.open()?;
    runtime::run(async {
        let service = captions::start(&log, &arguments.model, &arguments.listen).await?;
        println!("rechka listens on http://{}", service.address);
        service.serve_and_tell(false, runtime::interrupted()).await
    })
}
