//! The visitors' records, and what rows hold.
use std::collections::BTreeMap;

use serde_json::Value;

use crate::processes::Shop;

/// A record of the shop as the pipeline declares it; `None`: a broken one.
pub fn parse(record: &str, required: &[&str]) -> Option<Value> {
    let value: Value = serde_json::from_str(record).ok()?;
    let fits = required.iter().all(|name| match *name {
        "kind" | "ts" => value[name].is_string(),
        "item_id" => value[name].is_i64() || value[name].is_null(),
        _ => value[name].is_number(),
    });
    fits.then_some(value)
}

pub fn purchases(shop: &Shop) -> (Vec<Value>, usize) {
    let columns = ["order_id", "user_id", "item_id", "quantity", "price", "ts"];
    let records = shop.consume("purchases");
    let whole: Vec<_> = records.iter().filter_map(|record| parse(record, &columns)).collect();
    let broken = records.len() - whole.len();
    (whole, broken)
}

pub fn clicks(shop: &Shop) -> (Vec<Value>, usize) {
    let records = shop.consume("user-events");
    let whole: Vec<_> = records
        .iter()
        .filter_map(|record| parse(record, &["user_id", "item_id", "kind", "ts"]))
        .collect();
    let broken = records.len() - whole.len();
    (whole, broken)
}

pub fn categories(shop: &Shop) -> BTreeMap<i64, String> {
    let table = std::fs::read_to_string(shop.folder.join("shop/products.csv")).unwrap();
    let fields = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
    let rows = table.lines().skip(1).map(fields);
    rows.map(|fields| (fields[0].parse().unwrap(), fields[2].clone()))
        .collect()
}

pub fn text(value: &Value, name: &str) -> String {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("{name} in {value}"))
        .to_owned()
}

/// `YYYY-MM-DD HH:MM` of a timestamp.
pub fn minute(value: &Value, name: &str) -> String {
    text(value, name)[..16].replace('T', " ")
}

pub fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("{name} in {value}"))
}

pub fn whole(value: &Value, name: &str) -> i64 {
    value[name].as_i64().unwrap_or_else(|| panic!("{name} in {value}"))
}

/// `YYYY-MM-DD HH:MM:SS.mmm`.
pub fn moment(value: &Value, name: &str) -> String {
    let written = text(value, name).replace('T', " ");
    let (seconds, fraction) = written.trim_end_matches('Z').split_once('.').unwrap_or((&written, ""));
    format!("{seconds}.{fraction:0<3}")
}

/// Seconds of the day of a moment.
pub fn seconds(moment: &str) -> f64 {
    let part = |range: std::ops::RangeFrom<usize>, length: usize| -> f64 { moment[range][..length].parse().unwrap() };
    part(11.., 2) * 3_600.0
        + part(14.., 2) * 60.0
        + part(17.., 2)
        + moment.get(19..).and_then(|rest| rest.parse().ok()).unwrap_or(0.0)
}
