//! For tests: an operator over epochs that are committed, lost in a crash, or written anew as a snapshot.
use std::sync::Arc;

use arrow::{
    array::{Int64Array, RecordBatch},
    datatypes::{DataType, Field, Schema},
};

use super::{Delta, Operator, Output, Time};

/// What happens around an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Nothing.
    Calm,
    /// The epoch is lost before its commit, and done again.
    Crash,
    /// After the commit the operator is restored from the changelog.
    Restore,
    /// After the commit a snapshot replaces the changelog, and the operator is restored from it.
    Snapshot,
}

/// An operator with its changelog.
pub(super) struct Run<'a> {
    new: &'a dyn Fn() -> Box<dyn Operator>,
    operator: Box<dyn Operator>,
    log: Vec<Delta>,
    watermark: i64,
}

impl<'a> Run<'a> {
    pub fn new(new: &'a dyn Fn() -> Box<dyn Operator>) -> Self {
        Self {
            new,
            operator: new(),
            log: Vec::new(),
            watermark: i64::MIN,
        }
    }

    /// One epoch; gives what it puts out.
    pub fn epoch(&mut self, pushes: &[(usize, RecordBatch)], watermark: i64, event: Event) -> Output {
        if event == Event::Crash {
            self.process(pushes, watermark);
            self.restore();
        }
        let out = self.process(pushes, watermark);
        self.watermark = watermark;
        self.log.extend(self.operator.take_delta().unwrap());
        match event {
            Event::Calm | Event::Crash => {}
            Event::Restore => self.restore(),
            Event::Snapshot => {
                self.log = self.operator.snapshot().unwrap();
                self.restore();
            }
        }
        out
    }

    pub fn operator(&self) -> &dyn Operator {
        self.operator.as_ref()
    }

    fn process(&mut self, pushes: &[(usize, RecordBatch)], watermark: i64) -> Output {
        let mut out = Output::default();
        for (input, rows) in pushes {
            self.operator
                .push(
                    *input,
                    rows,
                    Time {
                        watermark: self.watermark,
                        now: 0,
                    },
                    &mut out,
                )
                .unwrap();
        }
        self.operator.end_epoch(Time { watermark, now: 0 }, &mut out).unwrap();
        out
    }

    fn restore(&mut self) {
        self.operator = (self.new)();
        for delta in &self.log {
            self.operator.restore(delta).unwrap();
        }
    }
}

/// Columns of numbers.
pub(super) fn numbers<const N: usize>(columns: [(&str, Vec<Option<i64>>); N]) -> RecordBatch {
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, _)| Field::new(*name, DataType::Int64, true))
        .collect();
    let columns = columns.map(|(_, numbers)| Arc::new(Int64Array::from(numbers)) as _);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.to_vec()).unwrap()
}
