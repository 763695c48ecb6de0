//! `rechka sql`: questions about what is stored.
use std::{
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use rechka_engine::{LiveQuery, Outside, Since, Speech, pipelines, stored};
use rechka_log::{Log, SqliteLog};
use rechka_sql::{Kind, Mode, Pipeline, Reply, Statement, logical, plan, stream};

use crate::{
    cli::{RowFormat, Sql},
    models,
    rows::Printer,
    runtime,
};

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
            if !arguments.batch && relations.iter().any(|relation| relation.kind == Kind::Stream) {
                let (query, limit) = stream::plan_watched(plan)?;
                return watch(arguments, log, query, limit);
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

/// How long to wait for rows before looking whether somebody asks to stop.
const WAIT: Duration = Duration::from_millis(100);

/// Prints the rows of a query over streams as they come: until so many have come as it asks for, or it is interrupted.
fn watch(arguments: &Sql, log: &Arc<dyn Log>, query: plan::Query, limit: Option<usize>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let own: Arc<dyn Log> = Arc::new(SqliteLog::open(folder.path())?);
    let since = if arguments.from_start { Since::Start } else { Since::Now };
    let live = rechka_engine::watch(log.clone(), own, query, since)?;
    let (format, stop) = (arguments.format, Arc::new(AtomicBool::new(false)));
    runtime::run(async {
        let stopped = stop.clone();
        let mut printing = tokio::task::spawn_blocking(move || print(live, limit, format, &stopped));
        tokio::select! {
            printed = &mut printing => return printed?,
            () = runtime::interrupted() => stop.store(true, Ordering::Relaxed),
        }
        printing.await?
    })
}

fn print(mut live: LiveQuery, limit: Option<usize>, format: RowFormat, stop: &AtomicBool) -> Result<()> {
    let mut left = limit.unwrap_or(usize::MAX);
    let mut printer: Option<Printer> = None;
    while left > 0 && !stop.load(Ordering::Relaxed) {
        let Some(rows) = live.next(WAIT)? else {
            continue;
        };
        let rows = rows.slice(0, rows.num_rows().min(left));
        left -= rows.num_rows();
        if rows.num_rows() == 0 {
            continue;
        }
        let schema = rows.schema();
        printer
            .get_or_insert_with(|| Printer::new(format, schema))
            .print(rows)?;
        // A table has an end: there is one for the rows that come together.
        if format == RowFormat::Table
            && let Some(printer) = printer.take()
        {
            printer.finish()?;
        }
    }
    Ok(())
}
