//! The binary encoding.

/// A value as it is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// A number, seven bits a byte, the lowest first.
pub(super) fn varint(bytes: &mut &[u8]) -> Result<u64, String> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or("the record ends within a number")?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number of more than 64 bits".to_owned())
}

/// A value of this wire type.
pub(super) fn value<'a>(bytes: &mut &'a [u8], wire: u64) -> Result<Wire<'a>, String> {
    const ENDS: &str = "the record ends within a value";
    Ok(match wire {
        0 => Wire::Varint(varint(bytes)?),
        1 => {
            let (value, rest) = bytes.split_first_chunk().ok_or(ENDS)?;
            *bytes = rest;
            Wire::Fixed64(u64::from_le_bytes(*value))
        }
        2 => {
            let length = usize::try_from(varint(bytes)?).map_err(|_| ENDS)?;
            let (value, rest) = bytes.split_at_checked(length).ok_or(ENDS)?;
            *bytes = rest;
            Wire::Bytes(value)
        }
        5 => {
            let (value, rest) = bytes.split_first_chunk().ok_or(ENDS)?;
            *bytes = rest;
            Wire::Fixed32(u32::from_le_bytes(*value))
        }
        other => return Err(format!("the wire type {other} is not known")),
    })
}

/// The fields of a message: number and value, as they come.
pub(super) fn fields(mut bytes: &[u8]) -> Result<Vec<(u64, Wire<'_>)>, String> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        fields.push((tag >> 3, value(&mut bytes, tag & 7)?));
    }
    Ok(fields)
}

pub(super) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

pub(super) fn zig_zag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

pub(super) fn un_zig_zag(code: u64) -> i64 {
    (code >> 1) as i64 ^ -((code & 1) as i64)
}
