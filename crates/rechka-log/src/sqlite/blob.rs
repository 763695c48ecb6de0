//! A batch as it is stored: LZ4-compressed where that helps, with a checksum.
//!
//! | codec | stored bytes |
//! |---|---|
//! | 0 | the encoded batch |
//! | 1 | one LZ4 block of the encoded batch |
//!
//! The checksum is CRC-32C of the stored bytes. Compression is the producers' work: it happens in their threads.
use std::cell::RefCell;

use bytes::Bytes;

use crate::{Batch, LogError, MAX_BATCH_BYTES, Result};

/// An encoded and compressed batch.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    pub codec: Codec,
    /// CRC-32C of `data`.
    pub checksum: u32,
    /// Bytes of the encoded batch before compression.
    pub bytes: usize,
    /// What is stored.
    pub data: Bytes,
}

/// How the stored bytes are compressed. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    /// Not at all: the data is dense already.
    Raw = 0,
    /// One LZ4 block.
    Lz4 = 1,
}

/// Of large batches this much from the middle is tried first: dense data then costs almost nothing.
const SAMPLE_BYTES: usize = 16 << 10;

impl Blob {
    /// Compresses a batch. What shrinks by less than an eighth is stored raw: reading it back is then free.
    pub(super) fn compress(batch: &Batch) -> Result<Self> {
        thread_local! {
            /// Where a block is compressed: its pages stay mapped from batch to batch.
            static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let encoded = batch.encode()?;
        let bytes = encoded.len();
        let compressed = SCRATCH.with_borrow_mut(|scratch| {
            let sample = bytes / 2..bytes / 2 + SAMPLE_BYTES;
            if bytes > 8 * SAMPLE_BYTES && compress_into(&encoded[sample], scratch).is_none() {
                return None;
            }
            compress_into(&encoded, scratch).map(Bytes::copy_from_slice)
        });
        let (codec, data) = match compressed {
            Some(compressed) => (Codec::Lz4, compressed),
            None => (Codec::Raw, encoded),
        };
        Ok(Self {
            codec,
            checksum: crc32c::crc32c(&data),
            bytes,
            data,
        })
    }
}

/// Compresses into the scratch buffer; `None` if that does not win an eighth.
fn compress_into<'a>(bytes: &[u8], scratch: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let most = lz4_flex::block::get_maximum_output_size(bytes.len());
    if scratch.len() < most {
        scratch.resize(most, 0);
    }
    let length = lz4_flex::block::compress_into(bytes, scratch).ok()?;
    (length < bytes.len() - bytes.len() / 8).then(|| &scratch[..length])
}

/// Reads a stored batch back.
///
/// Fails with [`LogError::Corrupt`] when anything about it is not as it was written.
pub(super) fn decompress(codec: i64, checksum: u32, bytes: usize, data: &[u8]) -> Result<Batch> {
    let corrupt = |why: &str| LogError::Corrupt(format!("batch: {why}"));
    if crc32c::crc32c(data) != checksum {
        return Err(corrupt("its checksum differs"));
    }
    if bytes > MAX_BATCH_BYTES {
        return Err(corrupt("larger than a batch may be"));
    }
    let encoded = match codec {
        0 => Bytes::copy_from_slice(data),
        1 => match lz4_flex::block::decompress(data, bytes) {
            Ok(encoded) => encoded.into(),
            Err(_) => return Err(corrupt("it does not decompress")),
        },
        _ => return Err(corrupt("unknown codec")),
    };
    if encoded.len() != bytes {
        return Err(corrupt("its length differs"));
    }
    Batch::decode(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BatchBuilder;

    fn batch(value: &[u8]) -> Batch {
        let mut builder = BatchBuilder::new();
        builder.push(Some(b"key"), value, 5, &[]).unwrap();
        builder.finish()
    }

    fn restore(blob: &Blob) -> Result<Batch> {
        decompress(blob.codec as i64, blob.checksum, blob.bytes, &blob.data)
    }

    #[test]
    fn text_is_compressed_and_dense_bytes_are_stored_raw() {
        let text = Blob::compress(&batch(&b"again and again ".repeat(100))).unwrap();
        assert_eq!(text.codec, Codec::Lz4);
        assert!(text.data.len() < 200);
        let mut state = 1_u64;
        let noise: Vec<u8> = (0..1000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        let dense = Blob::compress(&batch(&noise)).unwrap();
        assert_eq!(dense.codec, Codec::Raw);
        for (blob, value) in [(text, b"again and again ".repeat(100)), (dense, noise)] {
            assert_eq!(restore(&blob).unwrap().get(0).unwrap().value, value);
        }
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let blob = Blob::compress(&batch(&b"abc".repeat(50))).unwrap();
        for at in 0..blob.data.len() {
            let mut data = blob.data.to_vec();
            data[at] ^= 1;
            assert!(decompress(1, blob.checksum, blob.bytes, &data).is_err());
        }
        assert!(decompress(2, blob.checksum, blob.bytes, &blob.data).is_err());
        assert!(decompress(1, blob.checksum, blob.bytes + 1, &blob.data).is_err());
        assert!(decompress(1, blob.checksum, usize::MAX, &blob.data).is_err());
    }
}
