//! Parameters and buffers in the file formats of the PyTorch world.

use crate::models::{Entry, Parameters};
use crate::{Error, Result, files};
use candle_core::{DType, Device, Tensor, pickle::PthTensors};
use safetensors::{Dtype, tensor::TensorView};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Tensors under their published names.
pub type StateDict = BTreeMap<String, Tensor>;

/// Reads a PyTorch state dict (`.pt`, `.pth`) or a `.safetensors` file.
///
/// # Errors
/// A missing file, one of another format, one without tensors.
pub fn read(path: &Path) -> Result<StateDict> {
    files::check(path)?;
    let is_safetensors = path.extension().is_some_and(|e| e == "safetensors");
    let tensors = if is_safetensors {
        candle_core::safetensors::load(path, &Device::Cpu)
            .map_err(|e| Error::file(path, format!("not a safetensors file: {}", one_line(&e))))?
            .into_iter()
            .collect()
    } else {
        read_pickle(path)
            .map_err(|e| Error::file(path, format!("not a PyTorch state dict: {}", one_line(&e))))?
    };
    if tensors.is_empty() {
        return Err(Error::file(
            path,
            "holds no tensors: a state dict, as torch.save(model.state_dict(), ...) writes it, is needed",
        ));
    }
    Ok(tensors)
}

fn read_pickle(path: &Path) -> candle_core::Result<StateDict> {
    let file = PthTensors::new(path, None)?;
    let mut tensors = StateDict::new();
    for name in file.tensor_infos().keys() {
        if let Some(tensor) = file.get(name)? {
            tensors.insert(name.clone(), tensor);
        }
    }
    Ok(tensors)
}

fn one_line(e: &candle_core::Error) -> String {
    e.to_string().lines().next().unwrap_or_default().to_string()
}

/// Puts the tensors of `state` (read from `path`) into a model. Names and shapes must be the
/// model's own, no more and no fewer.
///
/// # Errors
/// The first tensor that is missing, has another shape or is not the model's, by name.
pub fn assign(parameters: &Parameters, state: &StateDict, path: &Path) -> Result<()> {
    let flat = collect(parameters.entries(), state, path)?;
    let buffers = collect(parameters.buffer_entries(), state, path)?;
    let known = |name: &str| {
        let entries = parameters
            .entries()
            .iter()
            .chain(parameters.buffer_entries());
        entries.into_iter().any(|e| e.name == name)
    };
    if let Some(extra) = state.keys().find(|name| !known(name)) {
        return Err(Error::file(
            path,
            format!(
                "extra tensor {extra}: the model of these hyper-parameters has none of that name"
            ),
        ));
    }
    parameters.set_flat(&flat)?;
    parameters.set_buffers(&buffers)
}

fn collect(entries: &[Entry], state: &StateDict, path: &Path) -> Result<Vec<f32>> {
    let mut flat = Vec::new();
    for entry in entries {
        let name = &entry.name;
        let tensor = state
            .get(name)
            .ok_or_else(|| Error::file(path, format!("missing tensor {name} {:?}", entry.shape)))?;
        if tensor.dims() != entry.shape {
            return Err(Error::file(
                path,
                format!(
                    "tensor {name} has shape {:?}, where the hyper-parameters need {:?}",
                    tensor.dims(),
                    entry.shape
                ),
            ));
        }
        let values = tensor
            .to_dtype(DType::F32)?
            .flatten_all()?
            .to_vec1::<f32>()?;
        if let Some(i) = values.iter().position(|v| !v.is_finite()) {
            return Err(Error::file(
                path,
                format!("tensor {name}: element {i} is {}", values[i]),
            ));
        }
        flat.extend(values);
    }
    Ok(flat)
}

/// Text in the first lines of every file that [`write`] writes.
pub const MARK: &str = "\"writer\":\"holosig\"";

/// Writes parameters and buffers under their published names as safetensors (f32).
pub fn write(parameters: &Parameters, path: &Path) -> Result<()> {
    let flat = parameters.flat()?;
    let buffers = parameters.buffers();
    let parts = [
        (parameters.entries(), &flat),
        (parameters.buffer_entries(), &buffers),
    ];
    let mut bytes: Vec<(&Entry, Vec<u8>)> = Vec::new();
    for (entries, values) in parts {
        for e in entries {
            let values = &values[e.offset..e.offset + e.len()];
            bytes.push((e, values.iter().flat_map(|v| v.to_le_bytes()).collect()));
        }
    }
    let views = bytes
        .iter()
        .map(|(e, data)| Ok((&e.name, TensorView::new(Dtype::F32, e.shape.clone(), data)?)))
        .collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(Error::internal)?;
    let about = HashMap::from([("writer".to_string(), "holosig".to_string())]);
    let file = safetensors::serialize(views, Some(about)).map_err(Error::internal)?;
    std::fs::write(path, file).map_err(|e| Error::io(path, e))
}
