//! What every plan must hold to, whatever the query.
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::logical_expr::JoinType;

use crate::plan::{DELETED, Expr, Node, Operation, Origin, Output, Phase, Query, Source, Stage};

/// Panics where a plan contradicts itself: origins, numbers of columns and their types, exchanges, event times.
pub(super) fn check(query: &Query) {
    for (number, stage) in query.stages.iter().enumerate() {
        assert!(!stage.nodes.is_empty() && !stage.inputs.is_empty());
        for input in &stage.inputs {
            if let Source::Exchange(from) = input.source {
                assert!(from < number);
                assert_eq!(input.schema, query.stages[from].nodes.last().unwrap().schema);
            }
            if let Some(time) = &input.event_time {
                assert!(is_time(input.schema.field(time.column).data_type()));
            }
        }
        for (index, node) in stage.nodes.iter().enumerate() {
            let inputs: Vec<&SchemaRef> = node.from.iter().map(|origin| schema(stage, *origin, index)).collect();
            assert_eq!(types(node), made(node, &inputs), "{:?}", node.operation);
        }
        assert_eq!(matches!(stage.output, Output::Result), number + 1 == query.stages.len());
        let transcribes = |node: &Node| matches!(node.operation, Operation::Transcribe(_));
        assert_eq!(stage.nodes.iter().any(transcribes), stage.transcribes().is_some());
    }
    let written = query.stages.last().unwrap().nodes.last().unwrap();
    let names = |schema: &SchemaRef| {
        schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect::<Vec<_>>()
    };
    let mut result = names(&query.result.schema);
    if names(&written.schema).len() > result.len() {
        result.push(DELETED.to_owned());
    }
    assert_eq!(names(&written.schema), result);
}

fn schema(stage: &Stage, origin: Origin, before: usize) -> &SchemaRef {
    match origin {
        Origin::Input(input) => &stage.inputs[input].schema,
        Origin::Node(node) => {
            assert!(node < before);
            &stage.nodes[node].schema
        }
    }
}

fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..))
}

fn types(node: &Node) -> Vec<DataType> {
    node.schema
        .fields()
        .iter()
        .map(|field| field.data_type().clone())
        .collect()
}

/// The types of the columns that an operation makes of its inputs.
fn made(node: &Node, inputs: &[&SchemaRef]) -> Vec<DataType> {
    let of = |schema: &SchemaRef| {
        schema
            .fields()
            .iter()
            .map(|field| field.data_type().clone())
            .collect::<Vec<_>>()
    };
    let expr = |expr: &Expr| expr.data_type(inputs[0]).unwrap();
    let all = || inputs.iter().flat_map(|schema| of(schema)).collect();
    match &node.operation {
        Operation::Map { columns, .. } => columns.iter().map(expr).collect(),
        Operation::AssignWindows { time, .. } => {
            let time = time.map_or_else(
                || types(node).pop().unwrap(),
                |time| inputs[0].field(time).data_type().clone(),
            );
            assert!(is_time(&time));
            [of(inputs[0]), vec![time; 3]].concat()
        }
        Operation::Unnest { column, .. } => {
            let mut columns = of(inputs[0]);
            let (DataType::List(item) | DataType::LargeList(item)) = columns[*column].clone() else {
                panic!("no list")
            };
            columns[*column] = item.data_type().clone();
            columns
        }
        Operation::Aggregate(aggregate) => {
            let keys = aggregate.keys.iter().map(expr);
            let windows = matches!(aggregate.groups, crate::plan::Groups::Windows { .. });
            let functions = || aggregate.columns.iter().map(|column| &column.function);
            if aggregate.phase == Phase::Partial {
                let states = functions().flat_map(|function| function.state_fields().unwrap());
                let states = states.map(|field| field.data_type().clone());
                let panes = vec![DataType::Int64; if windows { 2 } else { 0 }];
                return panes.into_iter().chain(keys).chain(states).collect();
            }
            let window = node
                .schema
                .fields()
                .iter()
                .skip(aggregate.keys.len())
                .take(if windows { 2 } else { 0 });
            let window = window
                .map(|field| field.data_type().clone())
                .inspect(|kind| assert!(is_time(kind)));
            keys.chain(window)
                .chain(functions().map(|function| function.field().data_type().clone()))
                .collect()
        }
        Operation::Join(join) => {
            assert!(is_time(inputs[0].field(join.bound.left).data_type()));
            assert!(is_time(inputs[1].field(join.bound.right).data_type()));
            for (left, right) in &join.on {
                assert_eq!(left.data_type(inputs[0]).unwrap(), right.data_type(inputs[1]).unwrap());
            }
            match join.kind {
                JoinType::LeftSemi | JoinType::LeftAnti => of(inputs[0]),
                JoinType::RightSemi | JoinType::RightAnti => of(inputs[1]),
                _ => all(),
            }
        }
        Operation::Lookup(_) => all(),
        Operation::TopN(_) => [of(inputs[0]), vec![DataType::UInt64]].concat(),
        Operation::Union => {
            assert!(inputs.iter().all(|input| of(input) == of(inputs[0])));
            of(inputs[0])
        }
        Operation::Transcribe(_) => types(node),
    }
}
