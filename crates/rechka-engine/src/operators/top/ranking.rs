//! The first rows of each group.
use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch, UInt32Array, UInt64Array},
    compute::take_record_batch,
    datatypes::{DataType, SchemaRef},
    row::{Rows, SortField},
};
use datafusion::physical_expr::PhysicalSortExpr;
use rechka_sql::plan::{self, Expr};

use super::super::{
    expressions::evaluate,
    kept::Kept,
    keys::{Format, Keys},
};
use crate::Result;

/// So many rows more than twice those that rank may be kept before the others are thrown away.
const SLACK: usize = 1024;

/// What is ranked, by what, and how far.
pub(super) struct Shape {
    pub input: SchemaRef,
    /// The input's columns and the rank.
    pub output: SchemaRef,
    partition: Vec<Expr>,
    partition_types: Vec<DataType>,
    order: Vec<Expr>,
    order_format: Format,
    /// How many rows of each group rank.
    limit: u64,
}

/// A row with its rank, from 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ranked {
    row: u32,
    rank: u64,
}

impl Shape {
    pub fn new(top: &plan::TopN, input: SchemaRef, output: SchemaRef) -> Result<Self> {
        let partition_types = top
            .partition
            .iter()
            .map(|key| key.data_type(&input))
            .collect::<Result<_, _>>()?;
        let field = |by: &PhysicalSortExpr| Ok(SortField::new_with_options(by.expr.data_type(&input)?, by.options));
        let order_format = Format::new(top.order.iter().map(field).collect::<Result<_>>()?)?;
        let order = top.order.iter().map(|by| by.expr.clone()).collect();
        let (partition, limit) = (top.partition.clone(), top.limit);
        Ok(Self {
            input,
            output,
            partition,
            partition_types,
            order,
            order_format,
            limit,
        })
    }

    /// What rows are grouped and ordered by. Only this can fail on a row.
    pub fn evaluate(&self, rows: &RecordBatch) -> Result<(Vec<ArrayRef>, Vec<ArrayRef>)> {
        Ok((evaluate(&self.partition, rows)?, evaluate(&self.order, rows)?))
    }
}

/// Groups of rows, and of each group the first rows in order. Rows are numbered as they come in; of equal rows the earlier is first.
pub(super) struct Ranking {
    groups: Keys,
    ranks: Vec<Ranks>,
    rows: Kept,
    /// For each row what it is ordered by.
    order: Rows,
    /// For each row its group.
    group_of: Vec<u32>,
    /// The number of rows at which to throw away those that don't rank.
    limit: usize,
}

/// The rows of a group that rank.
#[derive(Debug, Default)]
struct Ranks {
    /// How many are known for good, and gone.
    done: u64,
    /// Numbers of the others, in order.
    rows: Vec<u32>,
}

impl Ranking {
    pub fn new(shape: &Shape) -> Result<Self> {
        Ok(Self {
            groups: Keys::new(&shape.partition_types)?,
            ranks: Vec::new(),
            rows: Kept::default(),
            order: shape.order_format.none(),
            group_of: Vec::new(),
            limit: SLACK,
        })
    }

    /// Takes in those of the rows that rank now, and gives them, too.
    pub fn admit(&mut self, shape: &Shape, rows: &RecordBatch) -> Result<RecordBatch> {
        let (groups, order) = shape.evaluate(rows)?;
        let groups = self.groups.number(&groups, rows.num_rows())?;
        let order = shape.order_format.rows(&order, rows.num_rows())?;
        self.ranks.resize_with(self.groups.len(), Ranks::default);
        let mut admitted = Vec::new();
        for (index, group) in (0..).zip(groups) {
            let (ranks, place) = (&mut self.ranks[group as usize], order.row(index as usize));
            let room = (shape.limit - ranks.done.min(shape.limit)) as usize;
            let rank = ranks.rows.partition_point(|row| self.order.row(*row as usize) <= place);
            if rank >= room {
                continue;
            }
            ranks.rows.insert(rank, self.order.num_rows() as u32);
            ranks.rows.truncate(room);
            self.order.push(place);
            self.group_of.push(group);
            admitted.push(index);
        }
        let admitted = take_record_batch(rows, &UInt32Array::from(admitted))?;
        if admitted.num_rows() > 0 {
            self.rows.push(admitted.clone())?;
        }
        Ok(admitted)
    }

    /// How many rows have come in since the last compaction.
    pub fn len(&self) -> u32 {
        self.order.num_rows() as u32
    }

    /// The groups of rows, each once, in the order of their numbers.
    pub fn groups(&self, rows: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut groups: Vec<_> = rows.map(|row| self.group_of[row as usize]).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// All rows that rank.
    pub fn all(&self) -> Vec<Ranked> {
        self.ranks.iter().flat_map(|ranks| ranks.from(0)).collect()
    }

    /// The rows whose rank is another since the row of this number came: a group's first new row, and those behind it.
    pub fn changed(&self, since: u32) -> Vec<Ranked> {
        let changed = |group: u32| {
            let ranks = &self.ranks[group as usize];
            let first = ranks.rows.iter().position(|row| *row >= since);
            ranks.from(first.unwrap_or(ranks.rows.len()))
        };
        self.groups(since..self.len()).into_iter().flat_map(changed).collect()
    }

    /// Takes the first rows out of groups: they are known for good.
    pub fn finish(&mut self, groups: &[u32], is_known: impl Fn(u32) -> bool) -> Vec<Ranked> {
        let mut finished = Vec::new();
        for group in groups {
            let ranks = &mut self.ranks[*group as usize];
            let known = ranks.rows.iter().take_while(|row| is_known(**row)).count();
            finished.extend(ranks.from(0).take(known));
            ranks.rows.drain(..known);
            ranks.done += known as u64;
        }
        finished
    }

    /// The result's rows.
    pub fn put_out(&self, ranked: &[Ranked], shape: &Shape) -> Result<RecordBatch> {
        let rows: Vec<_> = ranked.iter().map(|ranked| ranked.row).collect();
        let mut columns = self.rows.rows(&rows, &shape.input)?.columns().to_vec();
        columns.push(Arc::new(UInt64Array::from_iter_values(
            ranked.iter().map(|ranked| ranked.rank),
        )));
        Ok(RecordBatch::try_new(shape.output.clone(), columns)?)
    }

    /// The rows that rank, in the order in which they came.
    pub fn rows(&self, shape: &Shape) -> Result<RecordBatch> {
        self.rows.rows(&self.numbers(), &shape.input)
    }

    fn numbers(&self) -> Vec<u32> {
        let mut numbers: Vec<_> = self.ranks.iter().flat_map(|ranks| &ranks.rows).copied().collect();
        numbers.sort_unstable();
        numbers
    }

    /// The groups of which rows are known for good, and how many of each.
    pub fn done(&self) -> Result<(Vec<ArrayRef>, UInt64Array)> {
        let done = || (0..).zip(&self.ranks).filter(|(_, ranks)| ranks.done > 0);
        let groups = self.groups.columns(done().map(|(group, _)| group))?;
        Ok((
            groups,
            UInt64Array::from_iter_values(done().map(|(_, ranks)| ranks.done)),
        ))
    }

    /// Takes up how many rows of groups are known for good.
    pub fn restore_done(&mut self, groups: &[ArrayRef], done: &UInt64Array) -> Result<()> {
        let groups = self.groups.number(groups, done.len())?;
        self.ranks.resize_with(self.groups.len(), Ranks::default);
        for (group, done) in groups.into_iter().zip(done.values()) {
            self.ranks[group as usize].done = *done;
        }
        Ok(())
    }

    /// From time to time throws away the rows that don't rank, and gives the former numbers of the others.
    pub fn compact(&mut self, shape: &Shape) -> Result<Option<Vec<u32>>> {
        if self.order.num_rows() <= self.limit {
            return Ok(None);
        }
        let numbers = self.numbers();
        let (mut rows, mut order) = (Kept::default(), shape.order_format.none());
        if !numbers.is_empty() {
            rows.push(self.rows.rows(&numbers, &shape.input)?)?;
        }
        let mut moved = vec![0; self.order.num_rows()];
        for (new, old) in (0..).zip(&numbers) {
            order.push(self.order.row(*old as usize));
            moved[*old as usize] = new;
        }
        let ranking = self.ranks.iter_mut().flat_map(|ranks| &mut ranks.rows);
        ranking.for_each(|row| *row = moved[*row as usize]);
        self.group_of = numbers.iter().map(|old| self.group_of[*old as usize]).collect();
        self.limit = 2 * numbers.len() + SLACK;
        (self.rows, self.order) = (rows, order);
        Ok(Some(numbers))
    }

    pub fn bytes(&self) -> usize {
        let numbers = self.group_of.capacity() * size_of::<u32>() + self.ranks.capacity() * size_of::<Ranks>();
        self.groups.bytes() + self.rows.bytes() + self.order.size() + numbers + self.order.num_rows() * size_of::<u32>()
    }
}

impl Ranks {
    /// The rows from a place on.
    fn from(&self, first: usize) -> impl Iterator<Item = Ranked> {
        let rank = self.done + 1 + first as u64..;
        self.rows[first..]
            .iter()
            .zip(rank)
            .map(|(row, rank)| Ranked { row: *row, rank })
    }
}
