//! Columns under construction, from which a row can be taken back.
//!
//! Arrow's builders only grow. Here a record may turn out bad after some of its fields were taken, so that every column can be cut
//! back to the rows before. Whole numbers of all widths are gathered as `i64` and narrowed at the end, when they are known to fit.
mod data;
mod finish;
mod group;
mod typed;

use arrow::{
    array::NullBufferBuilder,
    datatypes::{DataType, Field},
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

use crate::Result;
pub(crate) use data::{Data, decimal};
pub(crate) use group::{Group, Rows};

/// Whether a value was taken; if not, why.
pub(crate) type Taken = std::result::Result<(), String>;

/// A number as it was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number<'a> {
    /// All of it, by JSON's grammar.
    pub text: &'a [u8],
    /// What it is, if it is whole and fits.
    pub whole: Option<i64>,
}

impl<'a> Number<'a> {
    fn text(&self) -> &'a str {
        std::str::from_utf8(self.text).unwrap_or_default()
    }
}

/// Values of one column.
#[derive(Debug)]
pub(crate) struct Column {
    data_type: DataType,
    nullable: bool,
    nulls: NullBufferBuilder,
    data: Data,
}

impl Column {
    /// An empty column for values of the type of `field`.
    pub(crate) fn new(field: &Field, format: &'static str) -> Result<Self> {
        Ok(Self {
            data_type: field.data_type().clone(),
            nullable: field.is_nullable(),
            nulls: NullBufferBuilder::new(0),
            data: Data::of(field, format)?,
        })
    }

    /// How many values it has.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.nulls.len()
    }

    /// The values, for those who fill lists and structs. Call [`Column::filled`] afterwards.
    pub(crate) fn data(&mut self) -> &mut Data {
        &mut self.data
    }

    /// Says that one more value was added to [`Column::data`].
    pub(crate) fn filled(&mut self) {
        self.nulls.append_non_null();
    }

    /// Makes room for more values.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.data.reserve(more);
    }

    /// Keeps only the first `len` values. Also takes back the part of a list or struct that was not [`Column::filled`].
    pub(crate) fn truncate(&mut self, len: usize) {
        self.nulls.truncate(len);
        self.data.truncate(len);
    }

    /// NULL, if the column may have it.
    pub(crate) fn push_null(&mut self) -> Taken {
        if !self.nullable {
            return Err("must not be missing or null".to_owned());
        }
        self.push_absent();
        Ok(())
    }

    /// The place of a value in a struct that is NULL itself.
    pub(crate) fn push_absent(&mut self) {
        self.nulls.append_null();
        self.data.push_default();
    }

    /// Truth.
    pub(crate) fn push_bool(&mut self, value: bool) -> Taken {
        let Data::Boolean(values) = &mut self.data else {
            return self.misfit("a truth value");
        };
        values.append(value);
        self.filled();
        Ok(())
    }

    /// A number.
    #[inline]
    pub(crate) fn push_number(&mut self, number: Number<'_>) -> Taken {
        match (&mut self.data, number.whole) {
            (
                Data::Integer {
                    values,
                    least,
                    greatest,
                },
                Some(whole),
            ) if (*least..=*greatest).contains(&whole) => {
                values.push(whole);
            }
            (Data::Unsigned(values), _) => match number.text().parse() {
                Ok(value) => values.push(value),
                Err(_) => return self.misfit(number.text()),
            },
            (Data::Instant { values, instants }, Some(whole)) => match instants.of_millis(whole) {
                Some(value) => values.push(value),
                None => return self.misfit(number.text()),
            },
            (Data::Float(values), _) => match number.text().parse::<f64>() {
                Ok(value) if value.is_finite() => values.push(value),
                _ => return self.misfit(number.text()),
            },
            (
                Data::Decimal {
                    values,
                    precision,
                    scale,
                },
                _,
            ) => match decimal(number.text(), *precision, *scale) {
                Some(value) => values.push(value),
                None => return self.misfit(number.text()),
            },
            _ => return self.misfit(number.text()),
        }
        self.filled();
        Ok(())
    }

    /// Text, which is UTF-8. Instants, dates and times are read from it; decimals too, which many systems write as text, and
    /// the numbers that JSON has no digits for.
    #[inline]
    pub(crate) fn push_text(&mut self, text: &[u8]) -> Taken {
        match &mut self.data {
            Data::Text(values) => values.push(text),
            Data::Instant { values, instants } => match instants.parse(text) {
                Some(value) => values.push(value),
                None => return self.misfit_text(text),
            },
            Data::Calendar { values, parse } => match std::str::from_utf8(text).ok().and_then(parse) {
                Some(value) => values.push(value),
                None => return self.misfit_text(text),
            },
            Data::Decimal {
                values,
                precision,
                scale,
            } => {
                let text_value = std::str::from_utf8(text).ok();
                match text_value.and_then(|text| decimal(text, *precision, *scale)) {
                    Some(value) => values.push(value),
                    None => return self.misfit_text(text),
                }
            }
            Data::Float(values) => match text {
                b"NaN" => values.push(f64::NAN),
                b"Infinity" => values.push(f64::INFINITY),
                b"-Infinity" => values.push(f64::NEG_INFINITY),
                _ => return self.misfit_text(text),
            },
            Data::Bytes(values) => {
                if BASE64.decode_vec(text, values.open()).is_err() {
                    values.reopen();
                    return self.misfit_text(text);
                }
                values.close();
            }
            _ => return self.misfit_text(text),
        }
        self.filled();
        Ok(())
    }

    /// Text of a format that has nothing but text.
    pub(crate) fn push_plain(&mut self, text: &[u8]) -> Taken {
        let whole = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        match (&self.data, whole) {
            (Data::Boolean(_), _) if text == b"true" => self.push_bool(true),
            (Data::Boolean(_), _) if text == b"false" => self.push_bool(false),
            (Data::Integer { .. } | Data::Unsigned(_) | Data::Float(_), _) | (Data::Instant { .. }, Some(_)) => {
                self.push_number(Number { text, whole })
            }
            _ => self.push_text(text),
        }
    }

    /// Bytes as they are. A column of text takes them if they are UTF-8.
    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) -> Taken {
        match &mut self.data {
            Data::Bytes(values) => values.push(bytes),
            Data::Text(values) if std::str::from_utf8(bytes).is_ok() => values.push(bytes),
            Data::Text(_) => return self.misfit("bytes that are not UTF-8"),
            _ => return self.misfit("bytes"),
        }
        self.filled();
        Ok(())
    }

    /// Why `found` can't be here.
    #[cold]
    pub(crate) fn misfit(&self, found: &str) -> Taken {
        Err(format!("expected {}, found {found:.40}", self.data_type))
    }

    #[cold]
    fn misfit_text(&self, text: &[u8]) -> Taken {
        self.misfit(&format!(
            "the text {:?}",
            String::from_utf8_lossy(&text[..text.len().min(40)])
        ))
    }
}
