//! Lists of numbers as one run of bytes, for fields of values that travel between ranks.

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};
use std::marker::PhantomData;

/// A number of fixed size.
pub trait Packed: Copy {
    const SIZE: usize;
    fn put(self, bytes: &mut Vec<u8>);
    fn get(bytes: &[u8]) -> Self;
}

macro_rules! packed {
    ($($T:ty),*) => { $(
        impl Packed for $T {
            const SIZE: usize = size_of::<$T>();
            fn put(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
            fn get(bytes: &[u8]) -> Self {
                let mut own = [0; size_of::<$T>()];
                own.copy_from_slice(bytes);
                <$T>::from_le_bytes(own)
            }
        }
    )* };
}

packed!(f32, f64, u32);

/// See [`crate::comm::packed`].
///
/// # Errors
/// Those of the serializer.
pub fn serialize<T: Packed, S: Serializer>(values: &[T], to: S) -> Result<S::Ok, S::Error> {
    let mut bytes = Vec::with_capacity(values.len() * T::SIZE);
    values.iter().for_each(|value| value.put(&mut bytes));
    to.serialize_bytes(&bytes)
}

/// See [`crate::comm::packed`].
///
/// # Errors
/// Bytes that are no whole number of values.
pub fn deserialize<'de, T: Packed, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    from.deserialize_byte_buf(Bytes(PhantomData))
}

struct Bytes<T>(PhantomData<T>);

impl<T: Packed> Visitor<'_> for Bytes<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "the bytes of numbers of {} bytes", T::SIZE)
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<T>, E> {
        match bytes.len() % T::SIZE {
            0 => Ok(bytes.chunks_exact(T::SIZE).map(T::get).collect()),
            _ => Err(E::invalid_length(bytes.len(), &self)),
        }
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<T>, E> {
        self.visit_bytes(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Block {
        #[serde(with = "super")]
        single: Vec<f32>,
        #[serde(with = "super")]
        double: Vec<f64>,
    }

    #[test]
    fn numbers_keep_their_bits() {
        let block = Block {
            single: vec![1.5, -0.0, f32::MIN_POSITIVE / 2.0],
            // Longer than what a decoder holds at a time.
            double: (0..10_000).map(|i| f64::from(i).sqrt()).collect(),
        };
        let mut bytes = Vec::new();
        ciborium::into_writer(&block, &mut bytes).unwrap();
        assert!(bytes.len() < 3 * 4 + 10_000 * 8 + 40);
        let back: Block = ciborium::from_reader(&bytes[..]).unwrap();
        assert_eq!(back, block);
        assert_eq!(back.single[1].to_bits(), block.single[1].to_bits());
    }

    #[test]
    fn half_a_number_is_refused() {
        #[derive(Serialize)]
        struct Short {
            single: ciborium::Value,
            double: ciborium::Value,
        }
        let short = Short {
            single: ciborium::Value::Bytes(vec![0; 6]),
            double: ciborium::Value::Bytes(vec![]),
        };
        let mut bytes = Vec::new();
        ciborium::into_writer(&short, &mut bytes).unwrap();
        assert!(ciborium::from_reader::<Block, _>(&bytes[..]).is_err());
    }
}
