//! `rechka serve`.
use anyhow::Result;

use crate::{cli::Serve, node::Node, runtime};

/// Serves until it is interrupted.
pub fn run(arguments: &Serve) -> Result<()> {
    let log = arguments.log.log.open()?;
    let model = arguments.model.load()?;
    let language = arguments.model.language();
    runtime::run(async {
        let node = Node::start(log, model, language, &arguments.listen).await?;
        println!("rechka listens on http://{}", node.address);
        node.serve(runtime::interrupted()).await
    })
}
