//! The bytes of a datum.

/// A place in the bytes of one record.
#[derive(Debug)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or("the record ends within a value")?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or("the record ends within a value")?;
        self.0 = rest;
        Ok(*bytes)
    }

    /// A number in zig-zag code, seven bits a byte, the lowest first.
    pub(super) fn long(&mut self) -> Result<i64, String> {
        let mut code = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            code |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                if shift == 63 && byte > 1 {
                    break;
                }
                return Ok((code >> 1) as i64 ^ -((code & 1) as i64));
            }
        }
        Err("a number of more than 64 bits".to_owned())
    }

    /// Bytes after their length.
    pub(super) fn sized(&mut self) -> Result<&'a [u8], String> {
        let length = self.long()?;
        self.bytes(usize::try_from(length).map_err(|_| "a negative length")?)
    }

    /// How many elements come next of an array or a map; 0 at its end. Elements have at least a byte each.
    pub(super) fn block(&mut self) -> Result<usize, String> {
        let mut count = self.long()?;
        if count < 0 {
            self.long()?;
            count = count.checked_neg().ok_or("an array of impossible length")?;
        }
        match usize::try_from(count) {
            Ok(count) if count <= self.0.len() => Ok(count),
            _ => Err("an array of more elements than the record has bytes".to_owned()),
        }
    }
}

/// Appends a number in zig-zag code.
pub(super) fn put_long(value: i64, out: &mut Vec<u8>) {
    let mut code = (value << 1 ^ value >> 63) as u64;
    while code >= 0x80 {
        out.push(code as u8 | 0x80);
        code >>= 7;
    }
    out.push(code as u8);
}

/// Appends bytes after their length.
pub(super) fn put_sized(bytes: &[u8], out: &mut Vec<u8>) {
    put_long(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}
