use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::{
    common::tree_node::{Transformed, TransformedResult, TreeNode},
    logical_expr::Operator,
    physical_expr::expressions::{BinaryExpr, Column},
};

use crate::{
    Error, Relation,
    catalog::EventTime,
    plan::{Expr, Input, Node, Operation, Origin, Output, Source, Stage},
};

/// A stage that is being planned: inputs and operators, the output still open.
///
/// No operator is in it twice: what two branches of a query do alike, to the same rows, is done once.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    pub inputs: Vec<Input>,
    nodes: Vec<Node>,
}

impl Draft {
    /// A stage that begins with one input.
    pub(super) fn reading(input: Input) -> (Self, Origin) {
        (
            Self {
                inputs: vec![input],
                nodes: vec![],
            },
            Origin::Input(0),
        )
    }

    /// Adds an operator, unless the same is there already.
    pub(super) fn push(&mut self, node: Node) -> Origin {
        if let Some(same) = self.nodes.iter().position(|other| *other == node) {
            return Origin::Node(same);
        }
        self.nodes.push(node);
        Origin::Node(self.nodes.len() - 1)
    }

    /// Adds a [`Operation::Map`]. One that follows another is merged with it where that costs nothing.
    pub(super) fn map(
        &mut self,
        mut from: Origin,
        mut filter: Option<Expr>,
        mut columns: Vec<Expr>,
        schema: SchemaRef,
    ) -> Result<Origin, Error> {
        while let Origin::Node(previous) = from
            && let Node {
                operation:
                    Operation::Map {
                        filter: earlier,
                        columns: inner,
                    },
                from: before,
                ..
            } = &self.nodes[previous]
        {
            // Expressions are computed once, so only plain columns may be seen through, or be all that is asked for.
            let renames = inner.iter().all(|column| column.downcast_ref::<Column>().is_some());
            let picks = filter.is_none() && columns.iter().all(|column| column.downcast_ref::<Column>().is_some());
            if !renames && !picks {
                break;
            }
            columns = columns
                .into_iter()
                .map(|column| through(column, inner))
                .collect::<Result<_, _>>()?;
            let later = filter.map(|filter| through(filter, inner)).transpose()?;
            filter = match (earlier.clone(), later) {
                (Some(earlier), Some(later)) => Some(Arc::new(BinaryExpr::new(earlier, Operator::And, later))),
                (earlier, later) => earlier.or(later),
            };
            from = before[0];
        }
        Ok(self.push(Node {
            operation: Operation::Map { filter, columns },
            from: vec![from],
            schema,
        }))
    }

    pub(super) fn schema(&self, origin: Origin) -> &SchemaRef {
        match origin {
            Origin::Input(input) => &self.inputs[input].schema,
            Origin::Node(node) => &self.nodes[node].schema,
        }
    }

    /// Brings stages together; says where the rows of each are now. An input that several read is read once, with the columns
    /// that any needs.
    pub(super) fn merge(parts: Vec<(Self, Origin)>) -> Result<(Self, Vec<Origin>), Error> {
        let mut merged = Self::default();
        for input in parts.iter().flat_map(|(draft, _)| &draft.inputs) {
            match merged.inputs.iter_mut().find(|other| shared(other, input)) {
                Some(other) => *other = widened(other, input),
                None => merged.inputs.push(input.clone()),
            }
        }
        let origins = parts
            .into_iter()
            .map(|part| merged.take_over(part))
            .collect::<Result<_, _>>()?;
        Ok((merged, origins))
    }

    fn take_over(&mut self, (other, result): (Self, Origin)) -> Result<Origin, Error> {
        let mut places = HashMap::new();
        for (index, input) in other.inputs.iter().enumerate() {
            let here = self.inputs.iter().position(|own| shared(own, input)).unwrap_or(index);
            let wide = &self.inputs[here].schema;
            let place = if *wide == input.schema {
                Origin::Input(here)
            } else {
                let columns = input
                    .schema
                    .fields()
                    .iter()
                    .map(|field| column_named(wide, field))
                    .collect();
                self.map(Origin::Input(here), None, columns, Arc::clone(&input.schema))?
            };
            places.insert(Origin::Input(index), place);
        }
        for (index, mut node) in other.nodes.into_iter().enumerate() {
            for origin in &mut node.from {
                *origin = places[origin];
            }
            let place = match node.operation {
                Operation::Map { filter, columns } => self.map(node.from[0], filter, columns, node.schema)?,
                _ => self.push(node),
            };
            places.insert(Origin::Node(index), place);
        }
        Ok(places[&result])
    }

    /// The finished stage, of which `result` is the last node: what nothing reads is left out.
    pub(super) fn finish(mut self, result: Origin, output: Output) -> Result<Stage, Error> {
        let last = match result {
            Origin::Node(node) => node,
            Origin::Input(input) => {
                let schema = Arc::clone(&self.inputs[input].schema);
                let columns = schema
                    .fields()
                    .iter()
                    .map(|field| column_named(&schema, field))
                    .collect();
                self.nodes.push(Node {
                    operation: Operation::Map { filter: None, columns },
                    from: vec![result],
                    schema,
                });
                self.nodes.len() - 1
            }
        };
        let mut needed = vec![Origin::Node(last)];
        let mut next = 0;
        while let Some(&origin) = needed.get(next) {
            next += 1;
            if let Origin::Node(node) = origin {
                for &from in &self.nodes[node].from {
                    if !needed.contains(&from) {
                        needed.push(from);
                    }
                }
            }
        }
        let mut places = HashMap::new();
        let mut stage = Stage {
            inputs: vec![],
            nodes: vec![],
            output,
        };
        for (index, input) in self.inputs.into_iter().enumerate() {
            if needed.contains(&Origin::Input(index)) {
                places.insert(Origin::Input(index), Origin::Input(stage.inputs.len()));
                stage.inputs.push(input);
            }
        }
        for (index, mut node) in self.nodes.into_iter().enumerate() {
            if needed.contains(&Origin::Node(index)) {
                for origin in &mut node.from {
                    *origin = places[origin];
                }
                places.insert(Origin::Node(index), Origin::Node(stage.nodes.len()));
                stage.nodes.push(node);
            }
            if index == last {
                break;
            }
        }
        Ok(stage)
    }
}

/// An expression over the columns of a map, as one over what the map reads.
fn through(expr: Expr, inner: &[Expr]) -> Result<Expr, Error> {
    Ok(expr
        .transform_up(|expr| {
            Ok(match expr.downcast_ref::<Column>() {
                Some(column) => Transformed::yes(Arc::clone(&inner[column.index()])),
                None => Transformed::no(expr),
            })
        })
        .data()?)
}

fn column_named(schema: &Schema, field: &Field) -> Expr {
    let index = schema.index_of(field.name()).unwrap_or_default();
    Arc::new(Column::new(field.name(), index))
}

/// Whether one input can stand for both. A lookup reads its table directly, so with all columns that come.
fn shared(one: &Input, other: &Input) -> bool {
    one.source == other.source && (matches!(one.source, Source::Stream(_)) || one.schema == other.schema)
}

/// The input with the columns of both, in the order of the relation.
fn widened(one: &Input, other: &Input) -> Input {
    let Source::Stream(relation) = &one.source else {
        return one.clone();
    };
    let needed = |index: &usize| {
        let name = relation.schema.field(*index).name();
        one.schema.index_of(name).is_ok() || other.schema.index_of(name).is_ok()
    };
    input(
        relation,
        (0..relation.schema.fields().len()).filter(needed),
        one.source.clone(),
    )
}

/// An input of some columns of a relation.
pub(super) fn input(relation: &Relation, columns: impl Iterator<Item = usize>, source: Source) -> Input {
    let columns: Vec<usize> = columns.collect();
    let schema = relation
        .schema
        .project(&columns)
        .unwrap_or_else(|_| relation.schema.as_ref().clone());
    let event_time = relation.event_time.as_ref().and_then(|time| {
        let column = columns.iter().position(|&column| column == time.column)?;
        Some(EventTime { column, ..time.clone() })
    });
    Input {
        source,
        schema: Arc::new(schema),
        event_time,
    }
}
