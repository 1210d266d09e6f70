//! Sums over GPUs by NCCL, for fast reduction: gradients go from GPU to GPU and reach the host
//! as a sum. The library is loaded when the first such run starts, not when the program does.

use super::{World, pulse};
use crate::{Error, Result};
use candle_core::cuda_backend::cudarc::driver::DevicePtr;
use candle_core::{Device, Storage, Tensor};
use libloading::Library;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null_mut;

/// Names of the library that are tried.
const NAMES: [&str; 2] = ["libnccl.so.2", "libnccl.so"];

/// `ncclUniqueId`
#[repr(C)]
#[derive(Clone, Copy)]
struct Id([c_char; 128]);

type Status = c_int;
type Comm = *mut c_void;
type AllReduce = unsafe extern "C" fn(
    *const c_void,
    *mut c_void,
    usize,
    c_int,
    c_int,
    Comm,
    *mut c_void,
) -> Status;

/// `ncclFloat32` and `ncclSum`
const FLOAT32: c_int = 7;
const SUM: c_int = 0;

/// The functions of the library that are used.
struct Functions {
    unique_id: unsafe extern "C" fn(*mut Id) -> Status,
    init: unsafe extern "C" fn(*mut Comm, c_int, Id, c_int) -> Status,
    all_reduce: AllReduce,
    destroy: unsafe extern "C" fn(Comm) -> Status,
    error: unsafe extern "C" fn(Status) -> *const c_char,
    /// Keeps them in memory.
    _library: Library,
}

impl Functions {
    fn load() -> std::result::Result<Self, String> {
        let open = |name: &str| {
            // SAFETY: NCCL's initialisers ask nothing of us.
            unsafe { Library::new(name) }.map_err(|e| e.to_string())
        };
        let own = std::env::var("HOLOSIG_NCCL").ok();
        let library = match own {
            Some(path) => open(&path)?,
            None => open(NAMES[0]).or_else(|first| open(NAMES[1]).map_err(|_| first))?,
        };
        let told = |e: libloading::Error| e.to_string();
        // SAFETY: the types are those of nccl.h since version 2.0.
        unsafe {
            Ok(Self {
                unique_id: *library.get(b"ncclGetUniqueId\0").map_err(told)?,
                init: *library.get(b"ncclCommInitRank\0").map_err(told)?,
                all_reduce: *library.get(b"ncclAllReduce\0").map_err(told)?,
                destroy: *library.get(b"ncclCommDestroy\0").map_err(told)?,
                error: *library.get(b"ncclGetErrorString\0").map_err(told)?,
                _library: library,
            })
        }
    }

    fn check(&self, status: Status, doing: &str) -> Result<()> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: NCCL answers with a constant string for any status.
        let why = unsafe { CStr::from_ptr((self.error)(status)) };
        Err(Error::internal(format!(
            "NCCL cannot {doing}: {} (NCCL_DEBUG=WARN tells more)",
            why.to_string_lossy()
        )))
    }
}

/// All ranks' GPUs, connected.
pub struct Nccl {
    functions: Functions,
    comm: Comm,
}

// SAFETY: used by the main thread only, as MPI is; it moves with the trainer.
unsafe impl Send for Nccl {}
// SAFETY: as above: no method is called from two threads.
unsafe impl Sync for Nccl {}

impl Nccl {
    /// Connects the GPUs of all ranks; `Err` inside tells why sums go through MPI instead: a rank
    /// without a GPU of its own, a node without the library. Collective.
    ///
    /// # Errors
    /// A library that is there and fails.
    pub fn connect(world: &World, device: &Device) -> Result<std::result::Result<Self, String>> {
        if world.size() == 1 {
            return Ok(Err("one rank".into()));
        }
        if let Some(why) = not_alone(world, device) {
            return Ok(Err(why));
        }
        let loaded = Functions::load();
        if world.any(loaded.is_err()) {
            let why = loaded
                .err()
                .unwrap_or_else(|| "another rank lacks it".into());
            return Ok(Err(format!("no NCCL: {why}")));
        }
        let Ok(functions) = loaded else {
            return Err(Error::internal("NCCL was loaded and is not there"));
        };
        let connected = Self::start(world, device, functions);
        world.agree(connected).map(Ok)
    }

    fn start(world: &World, device: &Device, functions: Functions) -> Result<Self> {
        let made = world.on_root(|| {
            let mut id = Id([0; 128]);
            // SAFETY: `id` is an `ncclUniqueId` that NCCL writes.
            functions.check(unsafe { (functions.unique_id)(&mut id) }, "make an id")?;
            Ok(id.0.map(|c| c as u8).to_vec())
        })?;
        let bytes = world.broadcast(made.unwrap_or_default());
        let mut id = Id([0; 128]);
        for (to, &from) in id.0.iter_mut().zip(&bytes) {
            *to = from as c_char;
        }
        let stream = device.as_cuda_device()?.cuda_stream();
        let bound = stream.context().bind_to_thread();
        bound.map_err(|e| Error::internal(format!("GPU: {e}")))?;
        let mut comm = null_mut();
        let (rank, size) = (world.rank() as c_int, world.size() as c_int);
        // SAFETY: every rank calls it with the same id and its own rank and GPU.
        let status = unsafe { (functions.init)(&mut comm, size, id, rank) };
        functions.check(status, "connect the GPUs")?;
        Ok(Self { functions, comm })
    }

    /// The sum over all ranks of a contiguous f32 vector, in its place. Collective.
    ///
    /// # Errors
    /// Another kind of tensor; a failure of NCCL.
    pub fn sum(&self, vector: &Tensor) -> Result<()> {
        let (storage, layout) = vector.storage_and_layout();
        let (Storage::Cuda(cuda), Some((0, len))) = (&*storage, layout.contiguous_offsets()) else {
            return Err(Error::internal("NCCL sums whole vectors on a GPU"));
        };
        let stream = cuda.device.cuda_stream();
        let address = cuda.as_cuda_slice::<f32>()?.device_ptr(&stream).0 as *mut c_void;
        pulse::wait(true);
        // SAFETY: `len` floats at `address`, nobody else's until the stream has done this; the
        // communicator is alive.
        let status = unsafe {
            (self.functions.all_reduce)(
                address,
                address,
                len,
                FLOAT32,
                SUM,
                self.comm,
                stream.cu_stream().cast(),
            )
        };
        let done = self.functions.check(status, "sum the gradients");
        pulse::wait(false);
        done
    }
}

impl Drop for Nccl {
    fn drop(&mut self) {
        // SAFETY: made by `start`, not used any more.
        unsafe { (self.functions.destroy)(self.comm) };
    }
}

/// Why some rank has no GPU of its own. Collective.
fn not_alone(world: &World, device: &Device) -> Option<String> {
    let id = crate::gpu::identity(device).unwrap_or(0);
    let all = world.all_gather(&[(id >> 64) as u64, id as u64]);
    if all.iter().any(|id| id == &[0, 0]) {
        return Some("a rank computes on the CPU".into());
    }
    let mut unique = all.clone();
    unique.sort();
    unique.dedup();
    (unique.len() < all.len()).then(|| "ranks share a GPU".into())
}
