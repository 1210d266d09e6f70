//! Launching the kernels of `kernels/*.cu`.

use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaSlice, CudaStream, CudaView, DeviceRepr, LaunchConfig,
    sys::CUfunction_attribute,
};
use candle_core::cuda_backend::{CudaDevice, CudaStorage, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{Layout, Result, Shape, Storage, Tensor, bail};
use std::sync::Arc;

pub use candle_core::cuda_backend::cudarc::driver::PushKernelArg;

/// One file of kernels, compiled.
pub struct Module {
    pub name: &'static str,
    pub ptx: &'static str,
}

/// The module of `kernels/$name.cu`.
#[macro_export]
macro_rules! kernel_module {
    ($name:literal) => {
        $crate::gpu::Module {
            name: $name,
            ptx: include_str!(concat!(env!("OUT_DIR"), "/", $name, ".ptx")),
        }
    };
}

/// A kernel with its launch shape.
pub struct Kernel {
    pub function: CudaFunction,
    pub stream: Arc<CudaStream>,
    pub config: LaunchConfig,
}

/// Blocks, threads per block, and bytes of dynamic shared memory.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    pub blocks: (usize, usize),
    pub threads: usize,
    pub shared: usize,
}

/// Shared memory that a kernel may have without asking for more.
const USUAL_SHARED: usize = 48 << 10;

/// A kernel of a module, ready to be launched.
pub fn kernel(device: &CudaDevice, module: &Module, name: &str, grid: Grid) -> Result<Kernel> {
    let function = device
        .get_or_load_custom_func(name, module.name, module.ptx)?
        .into_cuda_function();
    if grid.shared > USUAL_SHARED {
        let attribute = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        function.set_attribute(attribute, grid.shared as i32).w()?;
    }
    let number = |n: usize| match u32::try_from(n) {
        Ok(n) => Ok(n),
        Err(_) => bail!("{name}: {n} blocks are too many"),
    };
    let config = LaunchConfig {
        grid_dim: (number(grid.blocks.0)?, number(grid.blocks.1)?, 1),
        block_dim: (number(grid.threads)?, 1, 1),
        shared_mem_bytes: number(grid.shared)?,
    };
    Ok(Kernel {
        function,
        stream: device.cuda_stream(),
        config,
    })
}

/// Launches a kernel with some arguments, in the order of its `extern "C"` signature.
///
/// The launch is unsafe at heart: types, order and sizes of the arguments must be those of the
/// kernel. Every call of this macro stands beside a test of that kernel in `tests/gpu.rs`.
#[macro_export]
macro_rules! launch {
    ($kernel:expr, $($argument:expr),+ $(,)?) => {{
        use candle_core::cuda_backend::WrapErr;
        use $crate::gpu::PushKernelArg;
        let kernel: $crate::gpu::Kernel = $kernel;
        let mut builder = kernel.stream.launch_builder(&kernel.function);
        $(builder.arg($argument);)+
        // SAFETY: see the macro's documentation.
        unsafe { builder.launch(kernel.config) }.w().map(drop)
    }};
}

/// The contiguous elements of an op's argument.
pub fn argument<'a, T: DeviceRepr + candle_core::cuda_backend::CudaDType>(
    storage: &'a CudaStorage,
    layout: &Layout,
) -> Result<CudaView<'a, T>> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(storage.as_cuda_slice::<T>()?.slice(from..to)),
        None => bail!("a custom op needs contiguous arguments"),
    }
}

/// Memory for a result that a kernel is about to fill whole.
pub fn uninitialised(device: &CudaDevice, len: usize) -> Result<CudaSlice<f32>> {
    // SAFETY: the callers' kernels write every element before anything reads it.
    unsafe { device.alloc::<f32>(len.max(1)) }
}

/// A result as a tensor without history.
pub fn tensor(slice: CudaSlice<f32>, device: &CudaDevice, shape: impl Into<Shape>) -> Tensor {
    let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(slice, device.clone()));
    Tensor::from_storage(storage, shape, BackpropOp::none(), false)
}
