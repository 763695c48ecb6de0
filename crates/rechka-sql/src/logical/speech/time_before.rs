use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array},
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type, TimeUnit},
};
use datafusion::{
    common::{Column, Result, plan_err},
    logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

const NAME: &str = "time_before";

/// If an expression is the time so many seconds before the one in a column: the column. The watermark of the column allows for
/// what is subtracted.
pub fn time_before(expr: &Expr) -> Option<&Column> {
    let Expr::ScalarFunction(call) = expr else {
        return None;
    };
    match call.args.first() {
        Some(Expr::Column(time)) if call.func.name() == NAME => Some(time),
        _ => None,
    }
}

/// The time `seconds` before `time`, rounded to the precision of `time`.
pub(super) fn call_time_before(time: Expr, seconds: Expr) -> Expr {
    ScalarUDF::new_from_impl(TimeBefore {
        signature: Signature::any(2, Volatility::Immutable),
    })
    .call(vec![time, seconds])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TimeBefore {
    signature: Signature,
}

impl ScalarUDFImpl for TimeBefore {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        match args {
            [time @ DataType::Timestamp(..), DataType::Float64] => Ok(time.clone()),
            _ => plan_err!("{NAME} takes a timestamp and seconds"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let kind = args.return_field.data_type();
        let DataType::Timestamp(unit, _) = kind else {
            return plan_err!("{NAME} takes a timestamp and seconds");
        };
        let per_second = match unit {
            TimeUnit::Second => 1.0,
            TimeUnit::Millisecond => 1e3,
            TimeUnit::Microsecond => 1e6,
            TimeUnit::Nanosecond => 1e9,
        };
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let times = cast(&arrays[0], &DataType::Int64)?;
        let (times, seconds) = (
            times.as_primitive::<Int64Type>(),
            arrays[1].as_primitive::<Float64Type>(),
        );
        let before = |row: usize| {
            let known = times.is_valid(row) && seconds.is_valid(row);
            // A conversion from a float keeps within bounds.
            known.then(|| {
                times
                    .value(row)
                    .saturating_sub((seconds.value(row) * per_second).round() as i64)
            })
        };
        let before: ArrayRef = Arc::new((0..times.len()).map(before).collect::<Int64Array>());
        Ok(ColumnarValue::Array(cast(&before, kind)?))
    }
}
