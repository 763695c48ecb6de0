use datafusion::{
    arrow::compute::kernels::cast_utils::parse_interval_month_day_nano,
    common::{Result, ScalarValue, plan_datafusion_err, plan_err},
    logical_expr::Expr,
};

const DAY: i64 = 86_400_000_000;

/// The length of an interval literal (or a string like `'10 minutes'`) in microseconds.
pub(crate) fn micros(literal: &Expr) -> Result<i64> {
    let (months, days, nanos) = match literal {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(value)), _) => {
            (value.months, value.days, value.nanoseconds)
        }
        Expr::Literal(ScalarValue::IntervalDayTime(Some(value)), _) => {
            (0, value.days, i64::from(value.milliseconds) * 1_000_000)
        }
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => {
            let value = parse_interval_month_day_nano(text)
                .map_err(|_| plan_datafusion_err!("'{text}' is no length of time: write '10 minutes'"))?;
            (value.months, value.days, value.nanoseconds)
        }
        Expr::Negative(inner) => return Ok(-micros(inner)?),
        other => return plan_err!("{other} is no length of time: write INTERVAL '10 minutes'"),
    };
    if months != 0 {
        return plan_err!("months and years differ in length: write it in days");
    }
    if nanos % 1_000 != 0 {
        return plan_err!("the finest length of time is a microsecond");
    }
    i64::from(days)
        .checked_mul(DAY)
        .and_then(|days| days.checked_add(nanos / 1_000))
        .ok_or_else(|| plan_datafusion_err!("{literal} is too long"))
}
