//! Values of formats that say what their values are.
use super::{Column, Data, Taken, data::fits};

impl Column {
    /// A whole number.
    pub(crate) fn push_whole(&mut self, value: i64) -> Taken {
        match &mut self.data {
            Data::Integer {
                values,
                least,
                greatest,
            } if (*least..=*greatest).contains(&value) => values.push(value),
            Data::Unsigned(values) if value >= 0 => values.push(value as u64),
            Data::Float(values) => values.push(value as f64),
            Data::Instant { values, instants } => match instants.of_millis(value) {
                Some(value) => values.push(value),
                None => return self.misfit(&value.to_string()),
            },
            Data::Decimal { .. } => return self.push_decimal(value.into(), 0),
            _ => return self.misfit(&value.to_string()),
        }
        self.filled();
        Ok(())
    }

    /// A whole number that may need all 64 bits.
    pub(crate) fn push_unsigned(&mut self, value: u64) -> Taken {
        match (&mut self.data, i64::try_from(value)) {
            (_, Ok(value)) => return self.push_whole(value),
            (Data::Unsigned(values), Err(_)) => values.push(value),
            (_, Err(_)) => return self.misfit(&value.to_string()),
        }
        self.filled();
        Ok(())
    }

    /// A number with a fraction; also what is not finite.
    pub(crate) fn push_float(&mut self, value: f64) -> Taken {
        match &mut self.data {
            Data::Float(values) => values.push(value),
            _ => return self.misfit(&format!("{value:?}")),
        }
        self.filled();
        Ok(())
    }

    /// A point in time, in units of which a second has so many, since 1970.
    pub(crate) fn push_instant(&mut self, value: i64, per_second: i64) -> Taken {
        let Data::Instant { values, instants } = &mut self.data else {
            return self.misfit("a time");
        };
        match instants.of_units(value, per_second) {
            Some(value) => values.push(value),
            None => return self.misfit("a time that its unit can't count"),
        }
        self.filled();
        Ok(())
    }

    /// A point in time: seconds since 1970 and what is more.
    pub(crate) fn push_point(&mut self, seconds: i64, nanos: u32) -> Taken {
        let Data::Instant { values, instants } = &mut self.data else {
            return self.misfit("a time");
        };
        match instants.scaled(seconds, nanos) {
            Some(value) => values.push(value),
            None => return self.misfit("a time that its unit can't count"),
        }
        self.filled();
        Ok(())
    }

    /// Days since 1970, if `per_second` is 0; else a time of day in units of which a second has so many.
    pub(crate) fn push_calendar(&mut self, value: i64, per_second: i64) -> Taken {
        let wanted = match self.data_type {
            arrow::datatypes::DataType::Date32 => 0,
            arrow::datatypes::DataType::Time32(unit) | arrow::datatypes::DataType::Time64(unit) => {
                crate::time::per_second(unit)
            }
            _ => return self.misfit("a date or a time of day"),
        };
        let value = match (per_second, wanted) {
            (0, 0) if i32::try_from(value).is_ok() => Some(value),
            (1.., 1..) if (0..86_400 * per_second).contains(&value) && (value * wanted) % per_second == 0 => {
                Some(value * wanted / per_second)
            }
            _ => None,
        };
        match (&mut self.data, value) {
            (Data::Calendar { values, .. }, Some(value)) => values.push(value),
            _ => return self.misfit("another date or time of day"),
        }
        self.filled();
        Ok(())
    }

    /// A decimal number: `value` / 10^`scale`.
    pub(crate) fn push_decimal(&mut self, value: i128, scale: i8) -> Taken {
        let Data::Decimal {
            values,
            precision,
            scale: wanted,
        } = &mut self.data
        else {
            return self.misfit("a decimal number");
        };
        let more = i32::from(*wanted) - i32::from(scale);
        let factor = 10_i128.checked_pow(more.unsigned_abs());
        let value = factor.and_then(|factor| match more {
            0.. => value.checked_mul(factor),
            _ => (value % factor == 0).then(|| value / factor),
        });
        match value.filter(|&value| fits(value, *precision)) {
            Some(value) => values.push(value),
            None => return self.misfit("a decimal number that does not fit"),
        }
        self.filled();
        Ok(())
    }
}
