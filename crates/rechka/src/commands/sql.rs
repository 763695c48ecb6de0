//! `rechka sql`: questions about what is stored.
use std::{io::Write, path::Path, sync::Arc};

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use rechka_engine::{Outside, Speech, pipelines, stored};
use rechka_log::Log;
use rechka_sql::{Kind, Mode, Pipeline, Reply, Statement, logical};

use crate::{cli::Sql, models, rows::Printer, runtime};

/// Executes statements one after another, and prints what they answer.
pub fn run(arguments: &Sql) -> Result<()> {
    let (text, folder) = match (&arguments.execute, &arguments.file) {
        (Some(text), _) => (text.clone(), Path::new("")),
        (None, Some(file)) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
            (text, file.parent().unwrap_or(Path::new("")))
        }
        (None, None) => bail!("what shall be asked? rechka sql -e \"SELECT …\", or a file"),
    };
    let log = arguments.log.log.open_read_only()?;
    let statements = Statement::parse_with(&text, &Outside::new(folder).over(&*log)?)?;
    let speech = models::speech(folder);
    let mode = if arguments.batch { Mode::Batch } else { Mode::Stream };
    let mut pipeline = Pipeline::new(mode, folder);
    pipeline.catalog = pipelines::published(&*log)?.catalog;
    // What the text declares itself counts more than what runs under that name.
    let own: Vec<_> = statements.iter().filter_map(declared).map(str::to_owned).collect();
    for name in &own {
        if pipeline.catalog.get(name).is_some() {
            pipeline.catalog.remove(name)?;
        }
    }
    for statement in &statements {
        refuse_changes(statement, arguments.batch, &own)?;
    }
    let asks = statements.iter().any(|statement| declared(statement).is_none());
    let mut derived = Vec::new();
    for statement in statements {
        if let Statement::Derive(derive) = &statement {
            derived.push(Arc::clone(&derive.name));
        }
        answer(arguments, &log, &speech, pipeline.execute(statement)?)?;
    }
    if !asks && arguments.batch {
        // The text only makes relations: these are what one wants to see.
        for name in derived {
            writeln!(std::io::stdout(), "-- {name}")?;
            for statement in Statement::parse(&format!("SELECT * FROM \"{name}\""))? {
                answer(arguments, &log, &speech, pipeline.execute(statement)?)?;
            }
        }
    }
    Ok(())
}

/// The name that a statement declares.
fn declared(statement: &Statement) -> Option<&str> {
    match statement {
        Statement::Declare(declare) => Some(&declare.relation.name),
        Statement::Derive(derive) => Some(&derive.name),
        Statement::View { name, .. } => Some(name),
        Statement::Sink(sink) => Some(&sink.name),
        _ => None,
    }
}

/// Here questions are answered; nothing is started or ended.
fn refuse_changes(statement: &Statement, batch: bool, own: &[String]) -> Result<()> {
    match statement {
        Statement::Derive(_) | Statement::Sink(_) if !batch => {
            let name = declared(statement).unwrap_or_default();
            bail!(
                "{name} would run for ever: put it into a file and `rechka run` that, or see what it gives over what is stored by \
                 `rechka sql --batch`"
            )
        }
        Statement::Drop { name, .. } if !own.iter().any(|own| own.eq_ignore_ascii_case(name)) => bail!(
            "{name} is not ended from here: take its statement out of the file that `rechka run` runs, and start that again"
        ),
        _ => Ok(()),
    }
}

fn answer(arguments: &Sql, log: &Arc<dyn Log>, speech: &Speech, reply: Reply) -> Result<()> {
    match reply {
        Reply::Done => Ok(()),
        Reply::Rows(rows) => {
            let mut printer = Printer::new(arguments.format, rows.schema());
            printer.print(rows)?;
            printer.finish()
        }
        Reply::Text(text) => Ok(writeln!(std::io::stdout(), "{text}")?),
        Reply::Query(plan) => {
            let relations = logical::relations(&plan)?;
            let stream = relations.iter().find(|relation| relation.kind == Kind::Stream);
            if !arguments.batch
                && let Some(stream) = stream
            {
                bail!(
                    "{} is a stream, which never ends: `rechka sql --batch` answers over what is stored of it now; to keep the \
                     answer up to date, put CREATE MATERIALIZED VIEW … AS into a pipeline and `rechka run` it",
                    stream.name
                );
            }
            let frame = stored::query(log, plan, speech)?;
            let schema = Arc::new(frame.schema().as_arrow().clone());
            runtime::run(async {
                let mut rows = frame.execute_stream().await?;
                let mut printer = Printer::new(arguments.format, schema);
                while let Some(rows) = rows.next().await {
                    printer.print(rows?)?;
                }
                printer.finish()
            })
        }
    }
}
