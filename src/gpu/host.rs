//! Numbers from the GPU to the host.

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::PinnedHostSlice;
use candle_core::{DType, Result, Storage, Tensor, bail};
use std::sync::Mutex;

/// Page-locked memory that the GPU writes to at full speed; kept, as locking pages is slow, for
/// the next transfer of the same length (a run's gradients all have one).
static STAGE: Mutex<Option<PinnedHostSlice<f32>>> = Mutex::new(None);

/// All elements of a GPU tensor as f32 in one transfer; waits for the work before it.
pub fn to_host(t: &Tensor) -> Result<Vec<f32>> {
    let t = t.to_dtype(DType::F32)?.contiguous()?;
    let (storage, layout) = t.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        bail!("the tensor is not on a GPU")
    };
    let len = layout.shape().elem_count();
    if len == 0 {
        return Ok(Vec::new());
    }
    let from = layout.start_offset();
    let values = storage.as_cuda_slice::<f32>()?.slice(from..from + len);
    let stream = storage.device.cuda_stream();
    let mut stage = STAGE.lock().unwrap_or_else(|e| e.into_inner());
    // A transfer fills all of it.
    if stage.as_ref().is_none_or(|s| s.len() != len) {
        // SAFETY: written by the copy below before it is read. No flags: the host reads it.
        *stage = Some(unsafe { stream.context().alloc_pinned_with_flags(len, 0) }.w()?);
    }
    let Some(stage) = stage.as_mut() else {
        unreachable!("made above")
    };
    stream.memcpy_dtoh(&values, stage).w()?;
    Ok(stage.as_slice().w()?.to_vec())
}
