//! Types of numbers in files of tensors, read as f32.

use half::{bf16, f16};

/// A type of number, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scalar {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    Bool,
}

impl Scalar {
    /// The type of a PyTorch storage class (`FloatStorage`) or `torch.dtype` (`float32`).
    pub(super) fn of_torch(name: &str) -> Option<Self> {
        Some(match name {
            "DoubleStorage" | "float64" | "double" => Self::F64,
            "FloatStorage" | "float32" | "float" => Self::F32,
            "HalfStorage" | "float16" | "half" => Self::F16,
            "BFloat16Storage" | "bfloat16" => Self::BF16,
            "LongStorage" | "int64" | "long" => Self::I64,
            "IntStorage" | "int32" | "int" => Self::I32,
            "ShortStorage" | "int16" | "short" => Self::I16,
            "CharStorage" | "int8" => Self::I8,
            "uint64" => Self::U64,
            "uint32" => Self::U32,
            "uint16" => Self::U16,
            "ByteStorage" | "UntypedStorage" | "uint8" => Self::U8,
            "BoolStorage" | "bool" => Self::Bool,
            _ => return None,
        })
    }

    /// The type of a tensor of a safetensors file.
    pub fn of_safetensors(dtype: safetensors::Dtype) -> Option<Self> {
        use safetensors::Dtype;
        Some(match dtype {
            Dtype::F64 => Self::F64,
            Dtype::F32 => Self::F32,
            Dtype::F16 => Self::F16,
            Dtype::BF16 => Self::BF16,
            Dtype::I64 => Self::I64,
            Dtype::I32 => Self::I32,
            Dtype::I16 => Self::I16,
            Dtype::I8 => Self::I8,
            Dtype::U64 => Self::U64,
            Dtype::U32 => Self::U32,
            Dtype::U16 => Self::U16,
            Dtype::U8 => Self::U8,
            Dtype::BOOL => Self::Bool,
            _ => return None,
        })
    }

    /// Bytes of one number.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// The number in `bytes` ([`Scalar::size`] of them), rounded to f32.
    pub fn read(self, bytes: &[u8]) -> f32 {
        let mut eight = [0; 8];
        eight[..bytes.len()].copy_from_slice(bytes);
        let unsigned = u64::from_le_bytes(eight);
        match self {
            Self::F64 => f64::from_bits(unsigned) as f32,
            Self::F32 => f32::from_bits(unsigned as u32),
            Self::F16 => f16::from_bits(unsigned as u16).to_f32(),
            Self::BF16 => bf16::from_bits(unsigned as u16).to_f32(),
            Self::I64 => unsigned as i64 as f32,
            Self::I32 => unsigned as i32 as f32,
            Self::I16 => f32::from(unsigned as i16),
            Self::I8 => f32::from(unsigned as i8),
            Self::U64 | Self::U32 => unsigned as f32,
            Self::U16 | Self::U8 => f32::from(unsigned as u16),
            Self::Bool => f32::from(u8::from(unsigned != 0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_type() {
        let cases: [(Scalar, &[u8], f32); 9] = [
            (Scalar::F64, &1.5f64.to_le_bytes(), 1.5),
            (Scalar::F32, &(-2.25f32).to_le_bytes(), -2.25),
            (Scalar::F16, &0xc100u16.to_le_bytes(), -2.5),
            (Scalar::BF16, &0x4049u16.to_le_bytes(), 3.140_625),
            (Scalar::I64, &(-7i64).to_le_bytes(), -7.0),
            (Scalar::I32, &(-8i32).to_le_bytes(), -8.0),
            (Scalar::I16, &(-9i16).to_le_bytes(), -9.0),
            (Scalar::I8, &[0xf6], -10.0),
            (Scalar::Bool, &[1], 1.0),
        ];
        for (scalar, bytes, value) in cases {
            assert_eq!(bytes.len(), scalar.size());
            assert_eq!(scalar.read(bytes), value, "{scalar:?}");
        }
    }
}
