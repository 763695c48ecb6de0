use arrow::datatypes::DataType;
use datafusion::{
    common::{Column, Result},
    logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility},
};

const NAME: &str = "as_of";

/// If `condition` (one of those a join has) marks a join with a table as of a time: the column with the time.
pub fn as_of_time(condition: &Expr) -> Option<&Column> {
    let Expr::ScalarFunction(call) = condition else {
        return None;
    };
    match call.args.first() {
        Some(Expr::Column(time)) if call.func.name() == NAME => Some(time),
        _ => None,
    }
}

/// `as_of(time, condition)` is `condition`. It marks a join; see [`as_of_time`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct AsOf {
    signature: Signature,
}

impl AsOf {
    pub(super) fn new() -> Self {
        Self {
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for AsOf {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(args.args.swap_remove(1))
    }
}
