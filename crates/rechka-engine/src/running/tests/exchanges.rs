//! One exchange that several stages read.
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use arrow::array::RecordBatch;
use rechka_log::TopicPartition;
use rechka_sql::plan::{Input, Node, Operation, Origin, Output, Query, Source, Stage};

use super::support::*;
use crate::{
    Result, RunOptions,
    operators::{self, Delta, Operator, Time},
    run,
};

/// Hands rows on, as soon as it may.
struct Held(Arc<AtomicBool>);

impl Operator for Held {
    fn push(&mut self, _input: usize, rows: &RecordBatch, _time: Time, out: &mut operators::Output) -> Result<()> {
        while self.0.load(SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        out.rows.push(rows.clone());
        Ok(())
    }

    fn end_epoch(&mut self, _time: Time, _out: &mut operators::Output) -> Result<()> {
        Ok(())
    }

    fn take_delta(&mut self) -> Result<Vec<Delta>> {
        Ok(Vec::new())
    }

    fn snapshot(&mut self) -> Result<Vec<Delta>> {
        Ok(Vec::new())
    }

    fn restore(&mut self, _delta: &Delta) -> Result<()> {
        Ok(())
    }

    fn state_bytes(&self) -> usize {
        0
    }
}

/// Brings every event to the result twice: by way of stages 1 and 2, which both read what stage 0 sends. In stage 2 is the operator
/// that the tests put in the place of a top-n.
fn twice() -> Query {
    let input = |from| Input {
        source: Source::Exchange(from),
        schema: columns(),
        event_time: None,
    };
    let exchange = |number: usize| Output::Exchange {
        topic: format!("twice.{number}.exchange").into(),
        partitions: 1,
        keys: Vec::new(),
    };
    let stage = |inputs, node, output| Stage {
        inputs,
        nodes: vec![node],
        output,
    };
    let union = Node {
        operation: Operation::Union,
        from: vec![Origin::Input(0), Origin::Input(1)],
        schema: columns(),
    };
    Query {
        name: "twice".into(),
        result: relation("both", columns(), 1),
        stages: vec![
            stage(vec![events(1)], at_least(0), exchange(0)),
            stage(vec![input(0)], at_least(0), exchange(1)),
            stage(vec![input(0)], totals(Origin::Input(0)), exchange(2)),
            stage(vec![input(1), input(2)], union, Output::Result),
        ],
    }
}

#[test]
fn what_one_stage_has_read_of_an_exchange_stays_until_all_have() {
    let log = TestLog::new();
    log.create("events", 1);
    let held = Arc::new(AtomicBool::new(true));
    let hold = held.clone();
    let options = RunOptions {
        purge: Duration::ZERO,
        new_operator: Arc::new(move |node, inputs| match &node.operation {
            Operation::TopN(_) => Ok(Box::new(Held(hold.clone()))),
            _ => operators::build_node(node, inputs),
        }),
        ..options()
    };
    let running = run(log.log.clone(), twice(), options).unwrap();
    let exchange = TopicPartition::new("twice.0.exchange", 0);
    let (mut end, mut expected) = (0, Vec::new());
    for number in 0..5 {
        log.append("events", 0, &[event(1, number, number)], 1);
        expected.extend([event_row(number), event_row(number)]);
        wait_until("stage 1 has read what came", || {
            let sent = log.log.offsets(&exchange).unwrap().end;
            let read = log.log.committed("twice.1", &exchange).unwrap();
            let come = sent > end && read == Some(sent);
            end = if come { sent } else { end };
            come
        });
    }
    held.store(false, SeqCst);
    wait_until("all rows have come both ways", || {
        log.values("both").len() >= expected.len()
    });
    assert_eq!(log.values("both"), expected);
    wait_until("what all have read is deleted", || {
        log.log.offsets(&exchange).unwrap().start > 0
    });
    running.stop().unwrap();
}

fn event_row(number: i64) -> String {
    format!(r#"{{"key":1,"ts":"1970-01-01T00:00:{number:02}","value":{number}}}"#)
}
