//! What a GPU is asked to do, as plain data: the launches of an op, in order, and the memory
//! that they use. Nothing here needs a GPU or CUDA. The CUDA build runs a [`Sequence`] on a
//! device; the tests run the same sequence on a CPU, with the same kernel sources
//! (`kernels/host`), so what is tested is what is launched.
//!
//! Every sequence depends on sizes and plans alone, never on the machine: neither do its bits.

pub mod adam;

use candle_core::{DType, Result, bail};
use std::sync::Arc;

/// An argument of a kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arg {
    /// Address of a buffer of the sequence.
    Buffer(usize),
    I32(i32),
    F32(f32),
    F64(f64),
}

/// Element type of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    F32,
    F64,
    I32,
    U8,
}

impl Kind {
    /// The kind of a tensor's type.
    ///
    /// # Errors
    /// A type that no kernel takes.
    pub fn of(dtype: DType) -> Result<Self> {
        match dtype {
            DType::F32 => Ok(Kind::F32),
            DType::F64 => Ok(Kind::F64),
            DType::I32 => Ok(Kind::I32),
            DType::U8 => Ok(Kind::U8),
            other => bail!("GPU kernels take f32, f64, i32 and u8, not {other:?}"),
        }
    }

    pub fn bytes(self) -> usize {
        match self {
            Kind::F32 | Kind::I32 => 4,
            Kind::F64 => 8,
            Kind::U8 => 1,
        }
    }
}

/// Memory that a sequence uses.
#[derive(Debug, Clone)]
pub enum Buffer {
    /// Argument number `index` of the op, contiguous, `len` elements; written only where the
    /// sequence's maker says so (in-place updates).
    Input {
        index: usize,
        kind: Kind,
        len: usize,
    },
    /// Constants. Equal addresses mean equal content: upload once and keep.
    Ints(Arc<[i32]>),
    Floats(Arc<[f32]>),
    Doubles(Arc<[f64]>),
    /// Fresh memory that is an output of the op, outputs numbered in the order of the buffers.
    Output {
        kind: Kind,
        len: usize,
        zeroed: bool,
    },
    /// Fresh memory, not initialised, free again after the last launch.
    Scratch {
        kind: Kind,
        len: usize,
    },
}

impl Buffer {
    pub fn kind(&self) -> Kind {
        match self {
            Buffer::Input { kind, .. }
            | Buffer::Output { kind, .. }
            | Buffer::Scratch { kind, .. } => *kind,
            Buffer::Ints(_) => Kind::I32,
            Buffer::Floats(_) => Kind::F32,
            Buffer::Doubles(_) => Kind::F64,
        }
    }

    /// Elements.
    pub fn len(&self) -> usize {
        match self {
            Buffer::Input { len, .. }
            | Buffer::Output { len, .. }
            | Buffer::Scratch { len, .. } => *len,
            Buffer::Ints(x) => x.len(),
            Buffer::Floats(x) => x.len(),
            Buffer::Doubles(x) => x.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One kernel launch.
#[derive(Debug, Clone, PartialEq)]
pub struct Launch {
    /// Source file in `kernels/`, without its ending.
    pub module: &'static str,
    /// `extern "C"` name in that file.
    pub kernel: &'static str,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    /// Dynamic shared memory in bytes; beyond 48 KiB the function's limit must be raised first.
    pub shared: u32,
    pub args: Vec<Arg>,
}

/// Launches in order, on one stream, and their memory.
#[derive(Debug, Clone, Default)]
pub struct Sequence {
    pub buffers: Vec<Buffer>,
    pub launches: Vec<Launch>,
}

impl Sequence {
    fn push(&mut self, buffer: Buffer) -> Arg {
        self.buffers.push(buffer);
        Arg::Buffer(self.buffers.len() - 1)
    }

    /// The op's next argument.
    pub fn input(&mut self, kind: Kind, len: usize) -> Arg {
        let inputs = self.buffers.iter();
        let index = inputs.filter(|b| matches!(b, Buffer::Input { .. })).count();
        self.push(Buffer::Input { index, kind, len })
    }

    /// The op's next result; every element is written by some launch.
    pub fn output(&mut self, kind: Kind, len: usize) -> Arg {
        let zeroed = false;
        self.push(Buffer::Output { kind, len, zeroed })
    }

    /// The op's next result, cleared before the first launch.
    pub fn zeroed(&mut self, kind: Kind, len: usize) -> Arg {
        let zeroed = true;
        self.push(Buffer::Output { kind, len, zeroed })
    }

    pub fn scratch(&mut self, kind: Kind, len: usize) -> Arg {
        self.push(Buffer::Scratch { kind, len })
    }

    pub fn ints(&mut self, table: &Arc<[i32]>) -> Arg {
        self.push(Buffer::Ints(table.clone()))
    }

    pub fn floats(&mut self, table: &Arc<[f32]>) -> Arg {
        self.push(Buffer::Floats(table.clone()))
    }

    pub fn doubles(&mut self, table: &Arc<[f64]>) -> Arg {
        self.push(Buffer::Doubles(table.clone()))
    }

    /// Adds a launch, none where the grid is empty.
    pub fn launch(
        &mut self,
        module: &'static str,
        kernel: &'static str,
        grid: [usize; 3],
        block: [usize; 3],
        shared: usize,
        args: Vec<Arg>,
    ) {
        if grid.contains(&0) {
            return;
        }
        self.launches.push(Launch {
            module,
            kernel,
            grid: grid.map(|n| n as u32),
            block: block.map(|n| n as u32),
            shared: shared as u32,
            args,
        });
    }
}

/// Sizes as arguments.
pub fn ints<const N: usize>(values: [usize; N]) -> [Arg; N] {
    values.map(|v| Arg::I32(v as i32))
}

/// Tile of a matrix product (`kernels/common.cuh`).
pub const TILE_ROWS: usize = 32;
pub const TILE_COLUMNS: usize = 64;

/// Tiles of rows (sample, m) of all degrees.
pub fn row_tiles(lmax: usize, batch: usize) -> usize {
    (0..=lmax)
        .map(|l| (batch * (2 * l + 1)).div_ceil(TILE_ROWS))
        .sum()
}

/// Sums `count` parts of `len` elements in order.
pub fn sum_parts(s: &mut Sequence, parts: Arg, out: Arg, count: usize, len: usize) {
    let args = vec![parts, out, Arg::I32(count as i32), Arg::I32(len as i32)];
    let grid = [len.div_ceil(256), 1, 1];
    s.launch("sum", "sum_parts", grid, [256, 1, 1], 0, args);
}
