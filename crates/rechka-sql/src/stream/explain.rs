use std::{collections::HashSet, fmt::Write, sync::Arc, time::Duration};

use arrow::datatypes::DataType;
use datafusion::{
    common::tree_node::{Transformed, TransformedResult, TreeNode},
    logical_expr::JoinType,
    physical_expr::{
        PhysicalSortExpr,
        expressions::{Column, Literal},
    },
    physical_expr_common::physical_expr::fmt_sql,
};

use crate::{
    Kind,
    plan::{
        Aggregate, Closing, Emit, Expr, Groups, Input, Join, Lookup, Operation, Origin, Output, Phase, Query, Source,
        Stage, TopN,
    },
};

/// The stages of a query as a tree, from the result to what is read: keys, windows, exchanges, watermarks, and what each operator
/// keeps as state.
pub fn explain(query: &Query) -> String {
    let result = &query.result;
    let name = |&column: &usize| result.schema.field(column).name().as_str();
    let what = match result.kind {
        Kind::Stream => "stream",
        Kind::Table => "table",
        Kind::View => "view",
    };
    let mut text = format!("{what} {} in topic {}", query.name, result.topic);
    if !result.key.is_empty() {
        let _ = write!(
            text,
            ", key {}",
            result.key.iter().map(name).collect::<Vec<_>>().join(", ")
        );
    }
    if let Some(time) = &result.event_time {
        let _ = write!(text, ", watermark {}", watermark(name(&time.column), time.delay));
    }
    for (number, stage) in query.stages.iter().enumerate().rev() {
        let _ = write!(text, "\nstage {number}, {}", counted(tasks(query, stage), "task"));
        if let Output::Exchange {
            topic,
            partitions,
            keys,
        } = &stage.output
        {
            let by = if keys.is_empty() {
                "all together".to_owned()
            } else {
                format!("by {}", list(keys))
            };
            let _ = write!(
                text,
                ", to exchange {topic} {by}, {}",
                counted(*partitions, "partition")
            );
        }
        let last = Origin::Node(stage.nodes.len().saturating_sub(1));
        Tree {
            stage,
            shown: HashSet::new(),
            text: &mut text,
        }
        .show(last, "", true);
    }
    text.push('\n');
    text
}

/// How many tasks run a stage: as many as its inputs have partitions.
fn tasks(query: &Query, stage: &Stage) -> u32 {
    let partitions = |input: &Input| match &input.source {
        Source::Stream(relation) => relation.partitions,
        Source::Table(_) => 1,
        Source::Exchange(stage) => match query.stages[*stage].output {
            Output::Exchange { partitions, .. } => partitions,
            Output::Result => 1,
        },
    };
    stage.inputs.iter().map(partitions).max().unwrap_or(1)
}

struct Tree<'a> {
    stage: &'a Stage,
    shown: HashSet<usize>,
    text: &'a mut String,
}

impl Tree<'_> {
    fn show(&mut self, origin: Origin, indent: &str, last: bool) {
        let _ = write!(self.text, "\n{indent}{} ", if last { "└─" } else { "├─" });
        let node = match origin {
            Origin::Input(index) => {
                self.text.push_str(&input(&self.stage.inputs[index]));
                return;
            }
            Origin::Node(index) => index,
        };
        let shared = self
            .stage
            .nodes
            .iter()
            .flat_map(|node| &node.from)
            .filter(|from| **from == origin)
            .count()
            > 1;
        if shared {
            let _ = write!(self.text, "[{node}] ");
        }
        if !self.shown.insert(node) {
            self.text.push_str("as above");
            return;
        }
        let node = &self.stage.nodes[node];
        self.text.push_str(&operation(&node.operation));
        if let Operation::Map { columns, .. } = &node.operation {
            let named = columns.iter().zip(node.schema.fields()).map(|(expr, field)| {
                let text = sql(expr);
                if text == *field.name() {
                    text
                } else {
                    format!("{text} AS {}", field.name())
                }
            });
            self.text.push_str(&named.collect::<Vec<_>>().join(", "));
        }
        let indent = format!("{indent}{}", if last { "   " } else { "│  " });
        for (index, &from) in node.from.iter().enumerate() {
            self.show(from, &indent, index + 1 == node.from.len());
        }
    }
}

fn input(input: &Input) -> String {
    let columns: Vec<_> = input
        .schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    let columns = columns.join(", ");
    let time = input.event_time.as_ref().map_or_else(String::new, |time| {
        format!(
            "; watermark {}",
            watermark(input.schema.field(time.column).name(), time.delay)
        )
    });
    match &input.source {
        Source::Stream(relation) => format!("stream {} (topic {}): {columns}{time}", relation.name, relation.topic),
        Source::Table(relation) => format!(
            "table {} (topic {}), read whole: {columns}",
            relation.name, relation.topic
        ),
        Source::Exchange(stage) => format!("exchange from stage {stage}: {columns}"),
    }
}

fn operation(operation: &Operation) -> String {
    match operation {
        Operation::Map {
            filter: Some(filter), ..
        } => format!("rows where {}: ", sql(filter)),
        Operation::Map { filter: None, .. } => "columns ".to_owned(),
        Operation::AssignWindows { time, window } => format!("a row for each window: {window}{}", processing(*time)),
        Operation::Unnest { column, .. } => format!("a row for each element of column {column}"),
        Operation::Aggregate(own) => aggregate(own),
        Operation::Join(own) => join(own),
        Operation::Lookup(own) => lookup(own),
        Operation::TopN(own) => top(own),
        Operation::Union => "all rows of".to_owned(),
        Operation::Transcribe(own) => format!("{own}; state: open sessions"),
    }
}

fn aggregate(aggregate: &Aggregate) -> String {
    let phase = match aggregate.phase {
        Phase::Single => "aggregate",
        Phase::Partial => "aggregate each epoch",
        Phase::Final => "merge aggregates",
    };
    let functions = aggregate.columns.iter().map(|column| &column.function);
    let functions = functions.map(|function| function.human_display().unwrap_or(function.name()));
    let functions: Vec<_> = functions.collect();
    let mut text = if functions.is_empty() {
        "groups".to_owned()
    } else {
        format!("{phase} {}", functions.join(", "))
    };
    if !aggregate.keys.is_empty() {
        let _ = write!(text, " by {}", list(&aggregate.keys));
    }
    if let Groups::Windows { time, window } = aggregate.groups {
        let _ = write!(text, " in windows: {window}{}", processing(time));
    }
    let end = match aggregate.groups {
        Groups::Carried { end } => sql(&aggregate.keys[end]),
        _ => "the end of the window".to_owned(),
    };
    let (emit, state) = match (aggregate.phase, aggregate.emit, aggregate.groups) {
        (Phase::Partial, ..) => return text,
        (_, Emit::Append, _) => (format!("once, when the watermark reaches {end}"), "open groups"),
        (_, Emit::Update, Groups::Keys) => ("changed groups, each epoch".to_owned(), "all groups"),
        (_, Emit::Update, _) => ("changed groups, each epoch".to_owned(), "open groups"),
        (_, Emit::Complete, _) => ("all groups, each epoch with changes".to_owned(), "all groups"),
    };
    let _ = write!(text, "; {emit}; state: {state}");
    text
}

fn join(join: &Join) -> String {
    let on: Vec<_> = join
        .on
        .iter()
        .map(|(left, right)| format!("{} = {}", sql(left), sql(right)))
        .collect();
    let mut text = format!("{} join", kind(join.kind));
    if !on.is_empty() {
        let _ = write!(text, " on {}", on.join(" and "));
    }
    if let Some(filter) = &join.filter {
        let _ = write!(text, " where {}", sql(filter));
    }
    match (join.bound.lower, join.bound.upper) {
        (0, 0) => text.push_str(", times equal"),
        (lower, upper) => {
            let _ = write!(
                text,
                ", time of the right from {} to {} of the left",
                signed(lower),
                signed(upper)
            );
        }
    }
    text.push_str("; state: rows until the watermark passes their last partner");
    text
}

fn lookup(lookup: &Lookup) -> String {
    let on: Vec<_> = lookup
        .on
        .iter()
        .map(|(stream, table)| format!("{} = {}", sql(stream), sql(table)))
        .collect();
    let mut text = format!("{} lookup on {}", kind(lookup.kind), on.join(" and "));
    if let Some(filter) = &lookup.filter {
        let _ = write!(text, " where {}", sql(filter));
    }
    if lookup.as_of.is_some() {
        text.push_str(", as of the row's time");
    }
    text.push_str("; state: the table");
    text
}

fn top(top: &TopN) -> String {
    let order: Vec<_> = top.order.iter().map(sort).collect();
    let closing = match top.closing {
        Closing::WindowEnd(_) => {
            "once, when the watermark reaches the end of the window; state: the first rows of open windows"
        }
        Closing::EventTime(_) => "once, when the watermark has passed them; state: a row counter for each group",
        Closing::Never => "changed ranks, each epoch; state: the first rows of all groups",
    };
    let by = if top.partition.is_empty() {
        String::new()
    } else {
        format!(" of each {}", list(&top.partition))
    };
    format!("first {}{by}, ordered by {}; {closing}", top.limit, order.join(", "))
}

fn sort(sort: &PhysicalSortExpr) -> String {
    format!(
        "{}{}",
        sql(&sort.expr),
        if sort.options.descending { " descending" } else { "" }
    )
}

fn kind(kind: JoinType) -> String {
    match kind {
        JoinType::Inner => "inner".to_owned(),
        JoinType::Left => "left".to_owned(),
        JoinType::Right => "right".to_owned(),
        JoinType::Full => "full".to_owned(),
        JoinType::LeftSemi | JoinType::RightSemi => "semi".to_owned(),
        JoinType::LeftAnti | JoinType::RightAnti => "anti".to_owned(),
        other => other.to_string(),
    }
}

fn processing(time: Option<usize>) -> &'static str {
    if time.is_none() { " of processing time" } else { "" }
}

/// An expression as SQL: text and times in quotes, hidden columns by the names they once had.
fn sql(expr: &Expr) -> String {
    use DataType::{Interval, Timestamp, Utf8};
    let word = |text: &str| -> Expr { Arc::new(Column::new(text, 0)) };
    let named = Arc::clone(expr).transform_up(|expr| {
        let literal = expr
            .downcast_ref::<Literal>()
            .map(Literal::value)
            .filter(|value| !value.is_null());
        let quoted = literal.filter(|value| matches!(value.data_type(), Utf8 | Timestamp(..) | Interval(_)));
        let quoted = quoted.and_then(|value| value.cast_to(&DataType::Utf8).ok());
        let hidden = expr
            .downcast_ref::<Column>()
            .and_then(|column| column.name().split_once('#'));
        let text = quoted
            .map(|value| format!("'{value}'"))
            .or_else(|| hidden.map(|(name, _)| name.to_owned()));
        Ok(text.map_or_else(
            || Transformed::no(Arc::clone(&expr)),
            |text| Transformed::yes(word(&text)),
        ))
    });
    fmt_sql(named.data().as_ref().unwrap_or(expr).as_ref()).to_string()
}

fn list(exprs: &[Expr]) -> String {
    exprs.iter().map(sql).collect::<Vec<_>>().join(", ")
}

fn watermark(column: &str, delay: Duration) -> String {
    if delay.is_zero() {
        column.to_owned()
    } else {
        format!("{column} - {delay:?}")
    }
}

fn signed(micros: i64) -> String {
    let length = Duration::from_micros(micros.unsigned_abs());
    match micros {
        0 => "0s".to_owned(),
        ..0 => format!("-{length:?}"),
        _ => format!("+{length:?}"),
    }
}

fn counted(count: u32, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
