use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::{
    common::Result,
    logical_expr::planner::TypePlanner,
    sql::sqlparser::ast::{self, TimezoneInfo},
};

/// Types that DataFusion reads otherwise, or not at all. `TIMESTAMP` counts milliseconds, as `TIMESTAMP(3)`: what the log's own
/// timestamps and most producers have.
#[derive(Debug)]
pub(super) struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> Result<Option<FieldRef>> {
        Ok(special(sql_type).map(|kind| Arc::new(Field::new("", kind, true))))
    }
}

fn special(sql_type: &ast::DataType) -> Option<DataType> {
    use ast::DataType as Sql;
    let milliseconds = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Millisecond, zone.map(Into::into));
    Some(match sql_type {
        Sql::Timestamp(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) | Sql::Datetime(None) => {
            milliseconds(None)
        }
        Sql::Timestamp(None, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => milliseconds(Some("+00:00")),
        Sql::Bytes(_) | Sql::Binary(_) | Sql::Varbinary(_) | Sql::Blob(_) => DataType::Binary,
        Sql::CharVarying(_) | Sql::CharacterVarying(_) | Sql::Character(_) | Sql::Nvarchar(_) | Sql::Uuid => {
            DataType::Utf8
        }
        Sql::Int16 => DataType::Int16,
        Sql::Int32 => DataType::Int32,
        Sql::Int64 => DataType::Int64,
        Sql::Float32 => DataType::Float32,
        Sql::Float64 => DataType::Float64,
        Sql::Custom(name, digits) if name.to_string().eq_ignore_ascii_case("TIMESTAMP_LTZ") => {
            let unit = match digits.first().map(String::as_str) {
                None | Some("3") => TimeUnit::Millisecond,
                Some("0") => TimeUnit::Second,
                Some("6") => TimeUnit::Microsecond,
                Some("9") => TimeUnit::Nanosecond,
                Some(_) => return None,
            };
            DataType::Timestamp(unit, Some("+00:00".into()))
        }
        _ => return None,
    })
}
