//! Numbers in datasets, read without silent loss.

use hdf5::types::{FloatSize, IntSize, TypeDescriptor};
use hdf5::{Container, H5Type};

/// A number that a dataset or an attribute can hold.
///
/// Floating-point data of any width is accepted where floats are asked for. Integers of any
/// width and sign are accepted where integers are asked for, as long as every value fits.
pub trait Element: H5Type + Copy + Send + Sync + 'static {
    /// Refuses another class of data: integers or strings where floats are asked for.
    fn check(from: &Container) -> Result<(), String>;

    /// All elements in row-major order; the error says what is wrong with the stored data.
    fn read_all(from: &Container) -> Result<Vec<Self>, String>;
}

fn kind_of(from: &Container) -> Result<TypeDescriptor, String> {
    from.dtype()
        .and_then(|t| t.to_descriptor())
        .map_err(|e| e.to_string())
}

fn raw<T: H5Type>(from: &Container) -> Result<Vec<T>, String> {
    from.read_raw().map_err(|e| e.to_string())
}

macro_rules! float {
    ($($t:ty),*) => {$(
        impl Element for $t {
            fn check(from: &Container) -> Result<(), String> {
                match kind_of(from)? {
                    TypeDescriptor::Float(_) => Ok(()),
                    other => Err(format!("holds {}, where floats are needed", describe(&other))),
                }
            }

            fn read_all(from: &Container) -> Result<Vec<Self>, String> {
                Self::check(from)?;
                raw(from)
            }
        }
    )*};
}

macro_rules! integer {
    ($($t:ty),*) => {$(
        impl Element for $t {
            fn check(from: &Container) -> Result<(), String> {
                match kind_of(from)? {
                    TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_) => Ok(()),
                    other => Err(format!("holds {}, where integers are needed", describe(&other))),
                }
            }

            fn read_all(from: &Container) -> Result<Vec<Self>, String> {
                Self::check(from)?;
                match kind_of(from)? {
                    same if same == <$t as H5Type>::type_descriptor() => raw(from),
                    TypeDescriptor::Unsigned(_) => narrow(raw::<u64>(from)?),
                    _ => narrow(raw::<i64>(from)?),
                }
            }
        }
    )*};
}

float!(f32, f64);
integer!(i8, i16, i32, i64, u8, u16, u32, u64);

fn narrow<W: Copy + std::fmt::Display, T: TryFrom<W>>(wide: Vec<W>) -> Result<Vec<T>, String> {
    wide.iter()
        .enumerate()
        .map(|(i, &v)| T::try_from(v).map_err(|_| format!("element {i} is {v}, out of range")))
        .collect()
}

pub(super) fn describe(kind: &TypeDescriptor) -> String {
    let bits = |s: &IntSize| 8 * (*s as usize);
    match kind {
        TypeDescriptor::Integer(s) => format!("int{}", bits(s)),
        TypeDescriptor::Unsigned(s) => format!("uint{}", bits(s)),
        TypeDescriptor::Float(FloatSize::U8) => "float64".into(),
        TypeDescriptor::Float(_) => "float32".into(),
        TypeDescriptor::Boolean => "booleans".into(),
        TypeDescriptor::FixedAscii(_)
        | TypeDescriptor::FixedUnicode(_)
        | TypeDescriptor::VarLenAscii
        | TypeDescriptor::VarLenUnicode => "strings".into(),
        other => format!("{other:?}"),
    }
}
