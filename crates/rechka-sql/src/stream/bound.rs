use arrow::datatypes::{DataType, TimeUnit};
use datafusion::{
    common::ScalarValue,
    logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator},
};

use super::flow::{Flow, Time};
use crate::plan::TimeBound;

/// What the condition of a join says about the times of two rows: `left + lower <= right <= left + upper`, each side if given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub left: usize,
    pub right: usize,
    pub lower: Option<i64>,
    pub upper: Option<i64>,
}

impl Range {
    fn meets(&self, other: &Self) -> bool {
        (self.left, self.right) == (other.left, other.right)
    }

    fn narrow(&mut self, other: &Self) {
        self.lower = self.lower.max(other.lower);
        self.upper = match (self.upper, other.upper) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    fn width(&self) -> i64 {
        match (self.lower, self.upper) {
            (Some(lower), Some(upper)) => upper.saturating_sub(lower),
            _ => i64::MAX,
        }
    }

    /// The bound, if it has both ends; an open end is closed by `retention`.
    pub(super) fn closed(&self, retention: Option<i64>) -> Option<TimeBound> {
        let lower = self.lower.or(retention.map(|retention| -retention));
        let upper = self.upper.or(retention);
        Some(TimeBound {
            left: self.left,
            right: self.right,
            lower: lower?,
            upper: upper?,
        })
    }
}

/// The narrowest range that the conditions of a join give.
pub(super) fn range<'a>(conditions: impl Iterator<Item = &'a Expr>, left: &Flow, right: &Flow) -> Option<Range> {
    let mut ranges: Vec<Range> = vec![];
    for range in conditions.flat_map(|condition| said(condition, left, right)) {
        match ranges.iter_mut().find(|other| other.meets(&range)) {
            Some(known) => known.narrow(&range),
            None => ranges.push(range),
        }
    }
    ranges.into_iter().min_by_key(Range::width)
}

/// What one condition says.
pub(super) fn said(condition: &Expr, left: &Flow, right: &Flow) -> Vec<Range> {
    let compare =
        |one: &Expr, operator, other: &Expr| comparison(moment(one, left, right), operator, moment(other, left, right));
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => compare(left, *op, right).into_iter().collect(),
        Expr::Between(between) if !between.negated => {
            let low = compare(&between.expr, Operator::GtEq, &between.low);
            low.into_iter()
                .chain(compare(&between.expr, Operator::LtEq, &between.high))
                .collect()
        }
        _ => vec![],
    }
}

fn comparison(one: Option<Moment>, operator: Operator, other: Option<Moment>) -> Option<Range> {
    let (one, other) = (one?, other?);
    let (left, operator, right) = match (one.side, other.side) {
        (Side::Left, Side::Right) => (one, operator, other),
        (Side::Right, Side::Left) => (other, operator.swap()?, one),
        _ => return None,
    };
    // left + its offset OP right + its offset
    let difference = left.offset.checked_sub(right.offset)?;
    let (lower, upper) = match operator {
        Operator::LtEq | Operator::Lt => (Some(difference), None),
        Operator::GtEq | Operator::Gt => (None, Some(difference)),
        Operator::Eq => (Some(difference), Some(difference)),
        _ => return None,
    };
    // What counts nanoseconds may be equal here and not there.
    let slack = i64::from(left.nanoseconds || right.nanoseconds);
    Some(Range {
        left: left.column,
        right: right.column,
        lower: lower.map(|lower| lower - slack),
        upper: upper.map(|upper| upper + slack),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// The event time in a column, plus so many microseconds.
#[derive(Clone, Copy, Debug)]
struct Moment {
    side: Side,
    column: usize,
    offset: i64,
    nanoseconds: bool,
}

fn moment(expr: &Expr, left: &Flow, right: &Flow) -> Option<Moment> {
    match expr {
        Expr::Column(name) => {
            let (side, flow, index) = match (left.index_of(name), right.index_of(name)) {
                (Some(index), None) => (Side::Left, left, index),
                (None, Some(index)) => (Side::Right, right, index),
                _ => return None,
            };
            let (column, offset) = match flow.columns[index].time {
                Time::Event { .. } => (index, 0),
                Time::Relative { of, offset } => (of, offset),
                Time::None => return None,
            };
            let nanoseconds = matches!(
                flow.columns[index].data_type,
                DataType::Timestamp(TimeUnit::Nanosecond, _)
            );
            Some(Moment {
                side,
                column,
                offset,
                nanoseconds,
            })
        }
        Expr::Alias(alias) => moment(&alias.expr, left, right),
        Expr::Cast(cast) => match cast.field.data_type() {
            DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, zone) => {
                let moment = moment(&cast.expr, left, right)?;
                let flow = match moment.side {
                    Side::Left => left,
                    Side::Right => right,
                };
                // A time without zone gets another meaning in a zone: the same clock there is another moment.
                let zoned = matches!(
                    cast.expr.get_type(&flow.schema().ok()?),
                    Ok(DataType::Timestamp(_, Some(_)))
                );
                let same = zoned || zone.as_deref().is_none_or(|zone| matches!(zone, "UTC" | "+00:00"));
                same.then_some(moment)
            }
            _ => None,
        },
        Expr::BinaryExpr(BinaryExpr {
            left: one,
            op: op @ (Operator::Plus | Operator::Minus),
            right: other,
        }) => {
            let (base, length) = match (length(one), length(other)) {
                (None, Some(length)) => (one, length),
                (Some(length), None) if *op == Operator::Plus => (other, length),
                _ => return None,
            };
            let base = moment(base, left, right)?;
            let length = if *op == Operator::Minus {
                length.checked_neg()?
            } else {
                length
            };
            Some(Moment {
                offset: base.offset.checked_add(length)?,
                ..base
            })
        }
        _ => None,
    }
}

/// Microseconds of an interval of fixed length.
fn length(expr: &Expr) -> Option<i64> {
    const DAY: i64 = 86_400_000_000;
    let value = match expr {
        Expr::Literal(value, _) => value,
        Expr::Cast(cast) => return length(&cast.expr),
        _ => return None,
    };
    match value {
        ScalarValue::IntervalMonthDayNano(Some(interval))
            if interval.months == 0 && interval.nanoseconds % 1000 == 0 =>
        {
            i64::from(interval.days)
                .checked_mul(DAY)?
                .checked_add(interval.nanoseconds / 1000)
        }
        ScalarValue::IntervalDayTime(Some(interval)) => i64::from(interval.days)
            .checked_mul(DAY)?
            .checked_add(i64::from(interval.milliseconds) * 1000),
        ScalarValue::DurationSecond(Some(seconds)) => seconds.checked_mul(1_000_000),
        ScalarValue::DurationMillisecond(Some(millis)) => millis.checked_mul(1000),
        ScalarValue::DurationMicrosecond(Some(micros)) => Some(*micros),
        ScalarValue::DurationNanosecond(Some(nanos)) if nanos % 1000 == 0 => Some(nanos / 1000),
        _ => None,
    }
}
