use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility},
};

const KEY: &str = "rechka.time";
const PROCESSING: &str = "processing";

/// Whether a column is the processing time: made by `PROCTIME()`, whatever it is called now.
pub fn is_processing_time(field: &Field) -> bool {
    field.metadata().get(KEY).is_some_and(|value| value == PROCESSING)
}

/// `PROCTIME()`: when the row is processed, in milliseconds. A window function over such a column is one over processing time.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ProcTime {
    signature: Signature,
}

impl ProcTime {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::nullary(Volatility::Volatile),
        }
    }
}

impl ScalarUDFImpl for ProcTime {
    fn name(&self) -> &str {
        "proctime"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Timestamp(TimeUnit::Millisecond, None))
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs) -> Result<FieldRef> {
        let field = Field::new(self.name(), self.return_type(&[])?, false);
        Ok(Arc::new(
            field.with_metadata([(KEY.to_owned(), PROCESSING.to_owned())].into()),
        ))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        Ok(ColumnarValue::Scalar(ScalarValue::TimestampMillisecond(
            Some(now),
            None,
        )))
    }
}
