//! The GPU that this rank computes on: how it is found and opened, and how numbers come back. In
//! the program with the feature `cuda` only.
//!
//! All work of a rank goes to one stream: kernels, copies and NCCL run in the order in which they
//! were asked for, so nothing has to be synchronised but the host's wait for a result.

mod host;

pub use host::to_host;

use crate::{Error, Result};
use candle_core::Device;
use candle_core::cuda_backend::cudarc::driver::{CudaContext, result, sys};
use candle_core::cuda_backend::{CudaDevice, WrapErr};

/// Number of GPUs that this process may use (`CUDA_VISIBLE_DEVICES`), or the driver's reason why
/// it has none.
pub fn count() -> std::result::Result<usize, String> {
    match CudaContext::device_count() {
        Ok(n) => Ok(n.max(0) as usize),
        Err(e) => Err(match e.error_name() {
            Ok(name) => name.to_string_lossy().into_owned(),
            Err(_) => e.to_string(),
        }),
    }
}

/// Opens GPU `number`; tells its model and its identity (UUID).
///
/// # Errors
/// A GPU that the driver cannot open, or that is older than our kernels.
pub fn open(number: usize) -> Result<(Device, String, u128)> {
    let failed = |e: candle_core::Error| Error::internal(format!("GPU {number}: {e}"));
    let device = CudaDevice::new_with_stream(number).map_err(failed)?;
    let stream = device.cuda_stream();
    let context = stream.context();
    let (major, minor) = context.compute_capability().w().map_err(failed)?;
    let name = context.name().w().map_err(failed)?;
    if (major, minor) < OLDEST {
        return Err(Error::input(format!(
            "GPU {number} ({name}) has compute capability {major}.{minor}: {}.{} or newer is \
             needed",
            OLDEST.0, OLDEST.1
        )));
    }
    // SAFETY: one stream does everything (see above), so events between streams protect nothing.
    unsafe { device.disable_event_tracking() };
    keep_freed_memory(context).w().map_err(failed)?;
    let device = Device::Cuda(device);
    let id = identity(&device).map_err(failed)?;
    Ok((device, name, id))
}

/// Identifies a GPU among all that there are (its UUID), whatever number a rank sees it under.
///
/// # Errors
/// A device that is no GPU.
pub fn identity(device: &Device) -> candle_core::Result<u128> {
    let stream = device.as_cuda_device()?.cuda_stream();
    let uuid = stream.context().uuid().w()?;
    Ok(u128::from_le_bytes(uuid.bytes.map(|b| b as u8)))
}

/// Bytes of a GPU's memory that are in use, by anybody. Freed memory counts: it is kept.
///
/// # Errors
/// A device that is no GPU.
pub fn memory_in_use(device: &Device) -> candle_core::Result<usize> {
    let stream = device.as_cuda_device()?.cuda_stream();
    let (free, total) = stream.context().mem_get_info().w()?;
    Ok(total - free)
}

/// Oldest compute capability that the kernels are compiled for.
const OLDEST: (i32, i32) = (8, 0);

/// Freed memory stays with this process instead of going back to the driver whenever the host
/// waits: a step asks for the same tensors again.
fn keep_freed_memory(context: &CudaContext) -> std::result::Result<(), result::DriverError> {
    let all = u64::MAX;
    // SAFETY: the context's own device and its pool; the attribute is a 64-bit number.
    unsafe {
        let pool = result::device::get_default_mem_pool(context.cu_device())?;
        result::mem_pool::set_attribute(
            pool,
            sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD,
            (&raw const all).cast_mut().cast(),
        )
    }
}
