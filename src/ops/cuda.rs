//! Runs the sequences of [`super::device`] on a GPU: kernels from `kernels/*.cu`, compiled to PTX
//! when the program was built, all on the device's one stream.

use super::device::{Arg, Buffer, Kind, Launch, Sequence};
use super::op::{Call, Gradients, Once, Op, Operand};
use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaStream, DevicePtr, DeviceRepr, LaunchConfig, PushKernelArg,
    sys::CUfunction_attribute,
};
use candle_core::cuda_backend::{CudaDType, CudaDevice, CudaStorage, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{Device, Layout, Result, Shape, Storage, Tensor, bail};
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

/// Name and PTX of every file of kernels.
const MODULES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// Shared memory that a kernel may have without asking for more.
const USUAL_SHARED: u32 = 48 << 10;

/// An argument of an op, in the memory of the GPU.
#[derive(Debug, Clone, Copy)]
pub struct Input {
    address: u64,
    kind: Kind,
    len: usize,
}

/// The contiguous argument of an op.
///
/// # Errors
/// One with gaps, or of a type that no kernel takes.
pub fn input(storage: &CudaStorage, layout: &Layout) -> Result<Input> {
    fn address<T: CudaDType + DeviceRepr>(
        storage: &CudaStorage,
        (from, to): (usize, usize),
        kind: Kind,
    ) -> Result<Input> {
        let slice = storage.as_cuda_slice::<T>()?;
        let stream = storage.device.cuda_stream();
        Ok(Input {
            address: slice.device_ptr(&stream).0 + (from * size_of::<T>()) as u64,
            kind,
            len: to - from,
        })
    }
    let Some(range) = layout.contiguous_offsets() else {
        bail!("a custom op needs contiguous arguments")
    };
    match Kind::of(storage.dtype())? {
        Kind::F32 => address::<f32>(storage, range, Kind::F32),
        Kind::F64 => address::<f64>(storage, range, Kind::F64),
        Kind::U8 => address::<u8>(storage, range, Kind::U8),
        Kind::I32 => address::<i32>(storage, range, Kind::I32),
    }
}

/// Runs a sequence; its outputs, in order.
///
/// # Errors
/// Arguments of other numbers, types or lengths than the sequence was made for; a failure of the
/// device.
pub fn run(device: &CudaDevice, sequence: &Sequence, inputs: &[Input]) -> Result<Vec<CudaStorage>> {
    let stream = device.cuda_stream();
    stream.context().bind_to_thread().w()?;
    let mut memory = Memory::new(device, &stream);
    let mut addresses = Vec::with_capacity(sequence.buffers.len());
    for buffer in &sequence.buffers {
        addresses.push(memory.place(buffer, inputs)?);
    }
    for launch in &sequence.launches {
        submit(device, &stream, launch, &addresses)?;
    }
    Ok(memory.outputs)
}

/// A contiguous tensor as an argument. Its memory stays where it is as long as the tensor lives.
///
/// # Errors
/// As [`input`], and a tensor that is not on a GPU.
pub fn of_tensor(t: &Tensor) -> Result<Input> {
    let (storage, layout) = t.storage_and_layout();
    match &*storage {
        Storage::Cuda(s) => input(s, layout),
        _ => bail!("the tensor is not on a GPU"),
    }
}

/// [`run`] on tensors of one device; outputs are vectors without history.
///
/// # Errors
/// As [`run`] and [`of_tensor`].
pub fn run_tensors(sequence: &Sequence, tensors: &[&Tensor]) -> Result<Vec<Tensor>> {
    let inputs = tensors.iter().map(|t| of_tensor(t));
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    let Some(first) = tensors.first() else {
        bail!("a sequence without arguments")
    };
    let outputs = run(first.device().as_cuda_device()?, sequence, &inputs)?;
    let lens = sequence.buffers.iter().filter_map(|buffer| match buffer {
        Buffer::Output { len, .. } => Some(*len),
        _ => None,
    });
    let tensors = outputs.into_iter().zip(lens).map(|(storage, len)| {
        let storage = Storage::Cuda(storage);
        Tensor::from_storage(storage, len, BackpropOp::none(), false)
    });
    Ok(tensors.collect())
}

/// The forward pass of an op.
///
/// # Errors
/// As [`run`], and those of the op.
pub fn forward<O: Op<N>, const N: usize>(
    op: &O,
    inputs: [(&CudaStorage, &Layout); N],
) -> Result<(CudaStorage, Shape)> {
    let shapes = inputs.map(|(_, layout)| layout.shape());
    let shape = op.shape(shapes)?;
    let call = op.launches(Kind::of(inputs[0].0.dtype())?, shapes)?;
    let device = inputs[0].0.device.clone();
    let outputs = run_call(&device, &call, |operand| match operand {
        Operand::Input(i) => input(inputs[*i].0, inputs[*i].1),
        _ => bail!("{}: a forward pass has its arguments alone", O::NAME),
    })?;
    match <[CudaStorage; 1]>::try_from(outputs) {
        Ok([out]) => Ok((out, shape)),
        Err(_) => bail!("{}: a forward pass has one result", O::NAME),
    }
}

/// The backward pass of an op.
///
/// # Errors
/// As [`run`], and those of the op.
pub fn backward<O: Once<N>, const N: usize>(
    op: &O,
    inputs: [&Tensor; N],
    output: &Tensor,
    grad: &Tensor,
    wanted: [bool; N],
) -> Result<Gradients<N>> {
    let call = op.vjp_launches(Kind::of(grad.dtype())?, inputs.map(Tensor::shape), wanted)?;
    let outputs = run_call(
        grad.device().as_cuda_device()?,
        &call,
        |operand| match operand {
            Operand::Input(i) => of_tensor(inputs[*i]),
            Operand::Output => of_tensor(output),
            _ => of_tensor(grad),
        },
    )?;
    let mut gradients = [const { None }; N];
    for (storage, &i) in outputs.into_iter().zip(&call.gradients) {
        let storage = Storage::Cuda(storage);
        let gradient = Tensor::from_storage(storage, inputs[i].shape(), BackpropOp::none(), false);
        gradients[i] = Some(gradient);
    }
    Ok(gradients)
}

/// Runs the sequence of a call. Its constants are brought to the device; `find` knows the others.
fn run_call(
    device: &CudaDevice,
    call: &Call,
    find: impl Fn(&Operand) -> Result<Input>,
) -> Result<Vec<CudaStorage>> {
    let mut constants = Vec::new();
    let operands = call.operands.iter().map(|operand| match operand {
        Operand::Constant(t) => {
            let t = t.to_device(&Device::Cuda(device.clone()))?;
            let operand = of_tensor(&t)?;
            constants.push(t);
            Ok(operand)
        }
        other => find(other),
    });
    let operands = operands.collect::<Result<Vec<Input>>>()?;
    run(device, &call.sequence, &operands)
}

/// The memory of a sequence while it is submitted. Scratch is given back when this is dropped,
/// which the stream does after the launches.
struct Memory<'a> {
    device: &'a CudaDevice,
    stream: &'a Arc<CudaStream>,
    outputs: Vec<CudaStorage>,
    scratch: Vec<CudaStorage>,
    tables: Vec<Table>,
}

impl<'a> Memory<'a> {
    fn new(device: &'a CudaDevice, stream: &'a Arc<CudaStream>) -> Self {
        Self {
            device,
            stream,
            outputs: Vec::new(),
            scratch: Vec::new(),
            tables: Vec::new(),
        }
    }

    /// The address of a buffer.
    fn place(&mut self, buffer: &Buffer, inputs: &[Input]) -> Result<u64> {
        match buffer {
            Buffer::Input { index, kind, len } => match inputs.get(*index) {
                Some(i) if i.kind == *kind && i.len == *len => Ok(i.address),
                given => bail!("argument {index} should be {len} x {kind:?}, not {given:?}"),
            },
            Buffer::Ints(values) => Ok(self.keep(table(self.stream, values)?)),
            Buffer::Floats(values) => Ok(self.keep(table(self.stream, values)?)),
            Buffer::Doubles(values) => Ok(self.keep(table(self.stream, values)?)),
            Buffer::Output { kind, len, zeroed } => {
                let (storage, address) = self.allocate(*kind, *len, *zeroed)?;
                self.outputs.push(storage);
                Ok(address)
            }
            Buffer::Scratch { kind, len } => {
                let (storage, address) = self.allocate(*kind, *len, false)?;
                self.scratch.push(storage);
                Ok(address)
            }
        }
    }

    fn keep(&mut self, table: Table) -> u64 {
        let address = table.address;
        self.tables.push(table);
        address
    }

    fn allocate(&self, kind: Kind, len: usize, zeroed: bool) -> Result<(CudaStorage, u64)> {
        fn of<T>(m: &Memory, len: usize, zeroed: bool) -> Result<(CudaStorage, u64)>
        where
            T: CudaDType + DeviceRepr + candle_core::cuda_backend::cudarc::driver::ValidAsZeroBits,
        {
            let slice = match zeroed {
                true => m.device.alloc_zeros::<T>(len)?,
                // SAFETY: the launches write every element before anything reads it.
                false => unsafe { m.device.alloc::<T>(len)? },
            };
            let address = slice.device_ptr(m.stream).0;
            Ok((
                CudaStorage::wrap_cuda_slice(slice, m.device.clone()),
                address,
            ))
        }
        match kind {
            Kind::F32 => of::<f32>(self, len, zeroed),
            Kind::F64 => of::<f64>(self, len, zeroed),
            Kind::I32 => of::<i32>(self, len, zeroed),
            Kind::U8 => of::<u8>(self, len, zeroed),
        }
    }
}

/// Enqueues one launch.
fn submit(
    device: &CudaDevice,
    stream: &Arc<CudaStream>,
    launch: &Launch,
    addresses: &[u64],
) -> Result<()> {
    enum Value {
        Address(u64),
        I32(i32),
        F32(f32),
        F64(f64),
    }
    let function = function(device, launch)?;
    let value = |arg: &Arg| match *arg {
        Arg::Buffer(i) => Value::Address(addresses[i]),
        Arg::I32(x) => Value::I32(x),
        Arg::F32(x) => Value::F32(x),
        Arg::F64(x) => Value::F64(x),
    };
    let values: Vec<Value> = launch.args.iter().map(value).collect();
    let mut builder = stream.launch_builder(&function);
    for value in &values {
        match value {
            Value::Address(x) => builder.arg(x),
            Value::I32(x) => builder.arg(x),
            Value::F32(x) => builder.arg(x),
            Value::F64(x) => builder.arg(x),
        };
    }
    let [x, y, z] = launch.grid;
    let [bx, by, bz] = launch.block;
    let config = LaunchConfig {
        grid_dim: (x, y, z),
        block_dim: (bx, by, bz),
        shared_mem_bytes: launch.shared,
    };
    // SAFETY: number, order and types of the arguments and the sizes of the buffers are those that
    // `tests/kernels.rs` runs the same launch with, under a sanitizer.
    unsafe { builder.launch(config) }.w().map(drop)
}

fn function(device: &CudaDevice, launch: &Launch) -> Result<CudaFunction> {
    let Some((name, ptx)) = MODULES.iter().find(|(name, _)| *name == launch.module) else {
        bail!("no kernels/{}.cu was compiled", launch.module)
    };
    let function = device
        .get_or_load_custom_func(launch.kernel, name, ptx)?
        .into_cuda_function();
    if launch.shared > USUAL_SHARED {
        let limit = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        function.set_attribute(limit, launch.shared as i32).w()?;
    }
    Ok(function)
}

/// A constant table on the GPU.
#[derive(Clone)]
struct Table {
    address: u64,
    _memory: Arc<dyn Any + Send + Sync>,
}

/// A table on the GPU, and whether the one on the host that it was made from is gone. As long as
/// this is held, no other table on the host gets that one's address.
struct Upload {
    gone: Box<dyn Fn() -> bool + Send>,
    table: Table,
}

/// The tables that are on the GPU, by their address on the host: as long as the host has one, the
/// GPU has it too.
static TABLES: LazyLock<Mutex<HashMap<usize, Upload>>> = LazyLock::new(Mutex::default);

fn table<T>(stream: &Arc<CudaStream>, values: &Arc<[T]>) -> Result<Table>
where
    T: DeviceRepr + Send + Sync + 'static,
{
    let mut tables = TABLES.lock().unwrap_or_else(|e| e.into_inner());
    let key = values.as_ptr() as usize;
    if let Some(known) = tables.get(&key).filter(|known| !(known.gone)()) {
        return Ok(known.table.clone());
    }
    tables.retain(|_, upload| !(upload.gone)());
    let memory = stream.clone_htod(&**values).w()?;
    let address = memory.device_ptr(stream).0;
    let table = Table {
        address,
        _memory: Arc::new(memory),
    };
    let origin = Arc::downgrade(values);
    let upload = Upload {
        gone: Box::new(move || origin.strong_count() == 0),
        table: table.clone(),
    };
    tables.insert(key, upload);
    Ok(table)
}
