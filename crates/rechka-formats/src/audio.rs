//! What bare sound is.
use std::fmt;

/// How samples are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// 16-bit signed integers, little endian.
    S16Le,
    /// 24-bit signed integers in three bytes, little endian.
    S24Le,
    /// 32-bit floats, little endian, full scale at ±1.
    F32Le,
    /// 8-bit mu-law (ITU-T G.711).
    MuLaw,
    /// 8-bit A-law (ITU-T G.711).
    ALaw,
}

impl Encoding {
    /// All of them, by the names that FFmpeg gives them.
    pub const ALL: [(&'static str, Self); 5] = [
        ("s16le", Self::S16Le),
        ("s24le", Self::S24Le),
        ("f32le", Self::F32Le),
        ("mulaw", Self::MuLaw),
        ("alaw", Self::ALaw),
    ];
}

impl fmt::Display for Encoding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, encoding)| encoding == self);
        formatter.write_str(name.map_or("", |(name, _)| name))
    }
}

/// Interleaved samples without a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pcm {
    /// How samples are written.
    pub encoding: Encoding,
    /// Sample frames per second: 1,000 to 384,000.
    pub rate: u32,
    /// Samples in a frame: 1 to 32.
    pub channels: u16,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::AsArray,
        datatypes::{DataType, Field, Schema},
    };

    use crate::{Format, tests::batch};

    #[test]
    fn audio_is_read_as_bytes_and_never_written() {
        let schema = Arc::new(Schema::new(vec![Field::new("audio", DataType::Binary, true)]));
        let format = Format::Audio(None);
        let decoded = format
            .decoder(&schema, Arc::clone(&schema))
            .unwrap()
            .decode(&batch([[1, 2], [3, 4]]))
            .unwrap();
        assert_eq!(decoded.rows.column(0).as_binary::<i32>().value(1), [3, 4]);
        assert!(format.encoder(&schema).err().unwrap().to_string().contains("read only"));
    }
}
