//! H-(V)AE as a generator: what its decoder makes of latents of our choice (paper, Figs. 2, 3 and S1
//! to S4).
//!
//! Rank 0 works, on all of its cores: there is little to do.

pub mod molecules;
mod picture;
mod sets;
pub mod volume;

pub use sets::{Choice, Set, sets};

use crate::data::spheres::{Signal, Spheres};
use crate::downstream::report::html::section;
use crate::downstream::report::{Part, page};
use crate::downstream::spheres::{Classifier, SphereModel};
use crate::store::{self, Content, Kind, Output, Storage};
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use std::path::Path;

/// The file of numbers, and the page.
pub const NUMBERS: &str = "generated.h5";
pub const PAGE: &str = "generated.html";
/// Names of all sets that there may be.
const NAMES: [&str; 6] = [
    "samples",
    "latent",
    "reconstruction",
    "interpolation",
    "canonical",
    "equivariance",
];

/// What [`run`] may write into `folder`.
pub fn outputs(folder: &Path) -> Vec<Output> {
    let numbers = folder.join(NUMBERS);
    let content = || Content::from(Kind::Generated);
    let pictures = NAMES.iter().map(|name| format!("{name}.png"));
    let beside = pictures.chain([PAGE.to_string()]);
    let beside = beside.map(|name| Output::new(folder.join(name), content()).known_by(&numbers));
    let mut outputs = vec![Output::new(&numbers, Kind::Generated)];
    outputs.extend(beside);
    outputs
}

/// Makes all sets that the model and the data allow ([`sets`]), and writes numbers, pictures and a page into
/// `folder`. The sets are returned.
///
/// # Errors
/// Data that the model was not made for, a choice that is not among them, an unwritable folder.
pub fn run(
    model: &SphereModel,
    classifier: Option<&Classifier>,
    data: Option<&Spheres>,
    choice: &Choice,
    folder: &Path,
) -> Result<Vec<Set>> {
    let made = sets(model, classifier, data, choice)?;
    if made.is_empty() {
        return Err(Error::input(
            "nothing to generate: samples of the prior need a variational model; give --dataset for \
             reconstructions, interpolations and canonical frames",
        ));
    }
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    let mut body = String::new();
    for set in &made {
        let seen = set.signals(&model.description.signal)?;
        let picture = picture::montage(&seen, model.description.signal.grid.side(), set.columns)?;
        store::write_bytes(&folder.join(format!("{}.png", set.name)), &picture)?;
        body += &section(
            set.name,
            &set.about,
            &picture::embedded(&picture, &set.caption()),
        );
    }
    write(&folder.join(NUMBERS), model, &made)?;
    let about = format!("Made by the decoder of model {}.", model.hash);
    let part = Part::plain("Generated signals", &about, body);
    store::write_bytes(&folder.join(PAGE), page(&[part])?.as_bytes())?;
    Ok(made)
}

/// Writes the numbers: a group per set with coefficients (in the scale of the data), latents, frames
/// and names.
fn write(path: &Path, model: &SphereModel, sets: &[Set]) -> Result<()> {
    let (dim, z) = (model.dim(), model.decoder_input());
    store::write(path, Kind::Generated, |root| {
        model.description.signal.write(root)?;
        root.set_attr_text("code_version", env!("CARGO_PKG_VERSION"))?;
        root.set_attr_text("checkpoint_hash", &model.hash)?;
        for set in sets {
            let group = root.create_group(set.name)?;
            let n = set.ids.len();
            group.set_attr_text("about", &set.about)?;
            group.write("coefficients", &[n, dim], &set.coefficients, Storage::Plain)?;
            group.write("z", &[n, z], &set.z, Storage::Plain)?;
            group.write("frame", &[n, 3, 3], &set.frames, Storage::Plain)?;
            group.write_strings("id", &set.ids)?;
        }
        Ok(())
    })
    .map(drop)
}

impl Set {
    /// The first channel of every signal, `[n, 2b, 2b]`.
    fn signals(&self, signal: &Signal) -> Result<Vec<f64>> {
        let dim = signal.irreps().dim();
        let shape = (self.ids.len(), dim);
        let c =
            Tensor::from_slice(&self.coefficients, shape, &Device::Cpu)?.to_dtype(DType::F64)?;
        let signals = signal.transform(DType::F64)?.inverse(&c)?;
        Ok(signals
            .narrow(1, 0, 1)?
            .contiguous()?
            .flatten_all()?
            .to_vec1()?)
    }

    fn caption(&self) -> String {
        format!(
            "{} signals in rows of {}: polar angle down, azimuth to the right",
            self.ids.len(),
            self.columns
        )
    }
}
