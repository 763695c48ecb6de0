//! JSON: one object a record.
//!
//! There is no tape and no tree: a cursor walks over the bytes of a record once and puts each wanted field into its column; what is
//! not wanted is checked and passed over. The whole record is checked by the grammar of RFC 8259, also what follows the last wanted
//! field, so that a broken record is bad whatever a query reads. Of fields that occur twice the last counts.
mod cursor;
mod decode;
mod encode;
#[cfg(test)]
mod tests;
mod text;

pub(crate) use decode::JsonDecoder;
pub(crate) use encode::JsonEncoder;
