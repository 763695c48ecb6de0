//! The operators of a stage, wired.
use std::{collections::VecDeque, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::physical_expr::expressions::Column;
use rechka_sql::plan::{self, Closing, Expr, Groups, Node, Operation, Origin, Query, Source, Stage};

use super::{table, trail::Trail, watermark::Watermark};
use crate::{
    EngineError, Result,
    operators::{Dead, Delta, Operator, Output, Time, expressions::evaluate, work_on},
};

/// Makes the operator of a node from the columns of its inputs.
pub type NewOperator = Arc<dyn Fn(&Node, &[SchemaRef]) -> Result<Box<dyn Operator>> + Send + Sync>;

/// A node's operator, and what is around it.
struct Place {
    operator: Box<dyn Operator>,
    from: Vec<Origin>,
    consumers: Vec<Consumer>,
    /// The watermark of its epoch.
    watermark: i64,
    /// From its watermark to that of what it puts out.
    delay: i64,
    /// Whether it closes for good what the watermark has passed.
    closes: bool,
}

#[derive(Clone, Copy)]
enum Consumer {
    Node { number: usize, port: usize },
    Output,
}

/// Rows on their way.
struct Waiting {
    to: Consumer,
    rows: RecordBatch,
    trail: Trail,
}

/// A row that was left out because an expression failed on it.
pub(super) struct LeftOut {
    pub dead: Dead,
    /// The row of the batch last pushed that it was made of, where that can be told.
    pub of: Option<usize>,
}

/// The operators of one partition of a stage.
pub(super) struct Dag {
    query: Arc<str>,
    nodes: Vec<Place>,
    inputs: Vec<Vec<Consumer>>,
    /// Which inputs are tables, which have no time.
    tables: Vec<bool>,
    /// What the output is re-keyed by, as far as it must be computed: that a row can't be is found here, where its trail is known.
    keys: Vec<Expr>,
    output: Output,
    left_out: Vec<LeftOut>,
    /// Memory of the rows in the output.
    output_bytes: usize,
}

impl Dag {
    pub fn new(query: &Query, stage: &Stage, new: &NewOperator) -> Result<Self> {
        let consumers = |origin: Origin| {
            let mut consumers = Vec::new();
            for (number, node) in stage.nodes.iter().enumerate() {
                let ports = node.from.iter().enumerate();
                let ports = ports.filter(|(_, from)| **from == origin);
                consumers.extend(ports.map(|(port, _)| Consumer::Node { number, port }));
            }
            let last = match stage.nodes.len() {
                0 => Origin::Input(0),
                nodes => Origin::Node(nodes - 1),
            };
            if origin == last {
                consumers.push(Consumer::Output);
            }
            consumers
        };
        let schema = |origin: &Origin| match origin {
            Origin::Input(input) => match &stage.inputs[*input] {
                table if matches!(table.source, Source::Table(_)) => table::schema(table),
                stream => stream.schema.clone(),
            },
            Origin::Node(node) => stage.nodes[*node].schema.clone(),
        };
        let place = |(number, node): (usize, &Node)| {
            let schemas: Vec<SchemaRef> = node.from.iter().map(schema).collect();
            Ok(Place {
                operator: new(node, &schemas)?,
                from: node.from.clone(),
                consumers: consumers(Origin::Node(number)),
                watermark: i64::MIN,
                delay: node.operation.delay(),
                closes: closes(&node.operation),
            })
        };
        let keys = match &stage.output {
            plan::Output::Exchange { keys, .. } => keys.iter().filter(|key| !key.is::<Column>()).cloned().collect(),
            plan::Output::Result => Vec::new(),
        };
        let is_table = |source: &Source| matches!(source, Source::Table(_));
        Ok(Dag {
            query: query.name.clone(),
            nodes: stage.nodes.iter().enumerate().map(place).collect::<Result<_>>()?,
            inputs: (0..stage.inputs.len())
                .map(|input| consumers(Origin::Input(input)))
                .collect(),
            tables: stage.inputs.iter().map(|input| is_table(&input.source)).collect(),
            keys,
            output: Output::default(),
            left_out: Vec::new(),
            output_bytes: 0,
        })
    }

    /// Brings rows of an input to where they go.
    pub fn push(&mut self, input: usize, rows: RecordBatch, now: i64) -> Result<()> {
        let to = self.inputs[input].iter();
        let waiting = to.map(|&to| Waiting {
            to,
            rows: rows.clone(),
            trail: Trail::INPUT,
        });
        self.flow(waiting.collect(), now)
    }

    /// Tells the operators whether those behind an exchange may be ahead of them.
    pub fn lag_behind(&mut self, lags: bool) {
        self.nodes.iter_mut().for_each(|node| node.operator.lag_behind(lags));
    }

    /// Forgets what came of a table.
    pub fn clear(&mut self, input: usize) -> Result<()> {
        for consumer in &self.inputs[input] {
            if let Consumer::Node { number, port } = *consumer {
                self.nodes[number].operator.clear(port)?;
            }
        }
        Ok(())
    }

    fn flow(&mut self, mut waiting: VecDeque<Waiting>, now: i64) -> Result<()> {
        while let Some(Waiting { to, rows, trail }) = waiting.pop_front() {
            if rows.num_rows() == 0 {
                continue;
            }
            let failing = work_on(&rows, |first, part| {
                self.deliver(to, part, &trail.skip(first), now, &mut waiting)
            })?;
            if !failing.is_empty() {
                let numbers: Vec<usize> = failing.iter().map(|(row, _)| *row).collect();
                let origins = trail.origins(&numbers, &|node| &*self.nodes[node].operator)?;
                let left_out = failing.into_iter().zip(origins).map(|((row, reason), of)| LeftOut {
                    dead: Dead {
                        row: rows.slice(row, 1),
                        reason,
                    },
                    of,
                });
                self.left_out.extend(left_out);
            }
        }
        Ok(())
    }

    fn deliver(
        &mut self,
        to: Consumer,
        rows: &RecordBatch,
        trail: &Trail,
        now: i64,
        waiting: &mut VecDeque<Waiting>,
    ) -> Result<()> {
        let Consumer::Node { number, port } = to else {
            evaluate(&self.keys, rows)?;
            self.output_bytes += rows.get_array_memory_size();
            self.output.rows.push(rows.clone());
            return Ok(());
        };
        let node = &self.nodes[number];
        if node.closes && node.watermark == i64::MAX && !self.is_table(node.from[port]) {
            return Err(EngineError::Unfit {
                query: self.query.clone(),
                reason: "it was run to the end of its streams, which closed all its windows, and more has come since"
                    .into(),
            });
        }
        let node = &mut self.nodes[number];
        let time = Time {
            watermark: node.watermark,
            now,
        };
        let mut out = Output::default();
        node.operator.push(port, rows, time, &mut out)?;
        self.note(&mut out);
        self.nodes[number].hand_on(out.rows, &trail.behind(number, rows, time), waiting);
        Ok(())
    }

    fn is_table(&self, origin: Origin) -> bool {
        matches!(origin, Origin::Input(input) if self.tables[input])
    }

    /// Ends the epoch with what the inputs say about time; gives the watermark of the stage's output.
    pub fn end_epoch(&mut self, inputs: &[Watermark], now: i64) -> Result<Watermark> {
        let behind = self.watermark(inputs);
        for (number, (watermark, _)) in self.times(inputs).into_iter().enumerate() {
            let node = &mut self.nodes[number];
            let mut out = Output::default();
            node.operator.end_epoch(Time { watermark, now }, &mut out)?;
            node.watermark = watermark;
            self.note(&mut out);
            let mut waiting = VecDeque::new();
            self.nodes[number].hand_on(out.rows, &Trail::NOWHERE, &mut waiting);
            self.flow(waiting, now)?;
        }
        Ok(behind)
    }

    /// The watermark of the stage's output when the inputs say this about time.
    pub fn watermark(&self, inputs: &[Watermark]) -> Watermark {
        self.times(inputs).last().map_or(inputs[0], |(_, behind)| *behind)
    }

    /// The watermark of each node then, and of what it puts out.
    fn times(&self, inputs: &[Watermark]) -> Vec<(i64, Watermark)> {
        let mut times: Vec<(i64, Watermark)> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let said = Watermark::combine(node.from.iter().filter_map(|origin| match origin {
                Origin::Input(input) if self.tables[*input] => None,
                Origin::Input(input) => Some(inputs[*input]),
                Origin::Node(node) => Some(times[*node].1),
            }));
            let watermark = node.watermark.max(said.micros);
            let behind = Time { watermark, now: 0 }.delayed(node.delay).watermark;
            let idle = said.idle;
            times.push((watermark, Watermark { micros: behind, idle }));
        }
        times
    }

    /// Notes what comes out beside the rows.
    fn note(&mut self, out: &mut Output) {
        self.output.late.append(&mut out.late);
        let dead = out.dead.drain(..);
        self.left_out.extend(dead.map(|dead| LeftOut { dead, of: None }));
    }

    /// The rows left out since the last call.
    pub fn take_left_out(&mut self) -> Vec<LeftOut> {
        std::mem::take(&mut self.left_out)
    }

    /// What has come out since the last call.
    pub fn take_output(&mut self) -> Output {
        self.output_bytes = 0;
        std::mem::take(&mut self.output)
    }

    /// The changes of the operators' state in this epoch, with the numbers of their nodes.
    pub fn take_delta(&mut self) -> Result<Vec<(usize, Delta)>> {
        self.deltas(|operator| operator.take_delta())
    }

    /// The whole state.
    pub fn snapshot(&mut self) -> Result<Vec<(usize, Delta)>> {
        self.deltas(|operator| operator.snapshot())
    }

    fn deltas(&mut self, mut take: impl FnMut(&mut dyn Operator) -> Result<Vec<Delta>>) -> Result<Vec<(usize, Delta)>> {
        let mut all = Vec::new();
        for (number, node) in self.nodes.iter_mut().enumerate() {
            let deltas = take(&mut *node.operator)?;
            all.extend(deltas.into_iter().map(|delta| (number, delta)));
        }
        Ok(all)
    }

    /// Gives a node back a change of its state.
    pub fn restore(&mut self, node: usize, delta: &Delta) -> Result<()> {
        let unknown = || {
            EngineError::Query(format!(
                "the state has a change of an operator {node}, which is not there"
            ))
        };
        self.nodes.get_mut(node).ok_or_else(unknown)?.operator.restore(delta)
    }

    /// The watermark of each node.
    pub fn watermarks(&self) -> Vec<i64> {
        self.nodes.iter().map(|node| node.watermark).collect()
    }

    /// Gives the nodes back their watermarks. The end of the streams that an earlier run has seen only counts where it closed something.
    pub fn set_watermarks(&mut self, watermarks: &[i64]) {
        for (node, &watermark) in self.nodes.iter_mut().zip(watermarks) {
            if watermark != i64::MAX || node.closes {
                node.watermark = watermark;
            }
        }
    }

    pub fn state_bytes(&self) -> usize {
        self.nodes.iter().map(|node| node.operator.state_bytes()).sum()
    }

    /// Bytes of memory of the rows that have come out.
    pub fn output_bytes(&self) -> usize {
        self.output_bytes
    }
}

/// Whether an operator puts rows out, or forgets them, for good when the watermark has passed them.
fn closes(operation: &Operation) -> bool {
    match operation {
        Operation::Aggregate(aggregate) => aggregate.groups != Groups::Keys,
        Operation::Join(_) => true,
        Operation::Lookup(lookup) => lookup.as_of.is_some(),
        Operation::TopN(top) => top.closing != Closing::Never,
        Operation::Map { .. }
        | Operation::AssignWindows { .. }
        | Operation::Unnest { .. }
        | Operation::Union
        | Operation::Transcribe(_) => false,
    }
}

impl Place {
    fn hand_on(&self, batches: Vec<RecordBatch>, trail: &Trail, waiting: &mut VecDeque<Waiting>) {
        for rows in batches {
            waiting.extend(self.consumers.iter().map(|&to| Waiting {
                to,
                rows: rows.clone(),
                trail: trail.clone(),
            }));
        }
    }
}
