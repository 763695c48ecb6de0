//! Headers of a record, encoded one after another.

/// A header: a name and bytes.
pub type Header<'a> = (&'a str, &'a [u8]);

/// The headers of one record, in order.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Headers<'a> {
    pub(super) fn new(encoded: &'a [u8]) -> Self {
        Self { rest: encoded }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        let (header, rest) = split(self.rest)?;
        self.rest = rest;
        Some(header)
    }
}

/// Appends a header to `out`; `None`, and `out` as it was, when the name or the value is too long.
pub(super) fn encode((name, value): Header<'_>, out: &mut Vec<u8>) -> Option<()> {
    let name_length = u16::try_from(name.len()).ok()?;
    let value_length = u32::try_from(value.len()).ok()?;
    out.extend_from_slice(&name_length.to_le_bytes());
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(&value_length.to_le_bytes());
    out.extend_from_slice(value);
    Some(())
}

/// True when `encoded` is a sequence of whole headers with UTF-8 names.
pub(super) fn valid(encoded: &[u8]) -> bool {
    let mut rest = encoded;
    while !rest.is_empty() {
        match split(rest) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}

/// The first header and what follows it.
fn split(encoded: &[u8]) -> Option<(Header<'_>, &[u8])> {
    let (length, rest) = encoded.split_first_chunk::<2>()?;
    let (name, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some(((std::str::from_utf8(name).ok()?, value), rest))
}
