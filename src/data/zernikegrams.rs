//! Files of point clouds and of zernikegrams.
//!
//! | file | dataset | type, shape | meaning |
//! |---|---|---|---|
//! | clouds (any HDF5 file) | `coordinates` | f32 `[atoms, 3]` | Å, each cloud about its own centre |
//! | | `elements` | u8 `[atoms]` | atomic numbers |
//! | | `ligand` | u8 `[atoms]` | optional: 1 for the atoms of a ligand |
//! | | `offsets` | u64 `[clouds + 1]` | cloud `i` is the atoms `offsets[i]..offsets[i + 1]` |
//! | zernikegrams | `zernikegram` | f32 `[clouds, dim]` | see [`crate::ops::zernike`] |
//!
//! The settings of the transform are attributes of the zernikegrams' root group.

use crate::data::neighborhoods::{self, Finder};
use crate::elements;
use crate::ops::zernike::{Channel, DROP, Settings, Side, Transform};
use crate::store::{self, Kind, Node, Storage};
use crate::{Error, Result};
use candle_core::{Device, Tensor};
use rayon::prelude::*;
use serde::de::value::{Error as Reason, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};
use std::ops::Range;
use std::path::Path;

/// Largest number of clouds, and of atoms unless one cloud has more, held in memory at once.
const BLOCK_CLOUDS: usize = 4096;
const BLOCK_ATOMS: usize = 1 << 21;

/// What a transform of a file met.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Summary {
    pub clouds: usize,
    pub atoms: usize,
    /// Atoms left out because no channel takes their element.
    pub without_channel: usize,
    /// Atoms left out because they lie beyond the cutoff or exactly at the centre.
    pub outside: usize,
}

/// Transforms the clouds of the HDF5 file `input` to the zernikegrams of `output`, block by
/// block: memory does not grow with the number of clouds, but for their offsets.
///
/// # Errors
/// Settings out of range; in `input` a missing dataset, a wrong shape or type, offsets that do
/// not ascend from 0 to the number of atoms, a coordinate that is not finite, a number that no
/// element has; a failure to write. Then no output is left behind.
pub fn transform_file(input: &Path, output: &Path, settings: &Settings) -> Result<Summary> {
    if let Some((_, channel, _)) = settings.features().next() {
        return Err(Error::input(format!(
            "channel {channel}: a file of clouds does not tell features; they are those of structures"
        )));
    }
    let transform = Transform::new(settings)?;
    let clouds = Clouds::open(input)?;
    let mut summary = Summary {
        clouds: clouds.offsets.len() - 1,
        atoms: clouds.atoms,
        ..Summary::default()
    };
    store::write(output, Kind::Zernikegrams, |root| {
        write_settings(root, settings)?;
        let shape = [summary.clouds, transform.irreps().dim()];
        root.create::<f32>("zernikegram", &shape, Storage::Plain)?;
        for block in clouds.blocks() {
            let rows = clouds.transform(&transform, block.clone(), &mut summary)?;
            root.write_rows("zernikegram", block.start, &rows)?;
        }
        Ok(())
    })?;
    Ok(summary)
}

/// Zernikegrams `[centres, dim]` of the neighborhoods of some centres of a dataset.
///
/// # Errors
/// A coordinate that is not finite.
pub fn of_centres(transform: &Transform, finder: &Finder, centres: &[u32]) -> Result<Vec<f32>> {
    /// Centres whose atoms are found and transformed together: they stay in the nearest caches.
    const TOGETHER: usize = 32;
    let dim = transform.irreps().dim();
    let mut out = vec![0.0; centres.len() * dim];
    out.par_chunks_mut(TOGETHER * dim)
        .zip(centres.par_chunks(TOGETHER))
        .try_for_each(|(out, centres)| transform_clouds(transform, &finder.clouds(centres), out))?;
    Ok(out)
}

/// Zernikegrams `[clouds, dim]` of some clouds.
///
/// # Errors
/// A coordinate that is not finite.
pub fn of_clouds(transform: &Transform, clouds: &neighborhoods::Clouds) -> Result<Vec<f32>> {
    let mut out = vec![0.0; clouds.len() * transform.irreps().dim()];
    transform_clouds(transform, clouds, &mut out)?;
    Ok(out)
}

fn transform_clouds(
    transform: &Transform,
    clouds: &neighborhoods::Clouds,
    out: &mut [f32],
) -> Result<()> {
    let channels = channels(transform, clouds);
    if transform.settings().features().next().is_none() {
        return transform.apply(&clouds.coordinates, &channels, &clouds.offsets, out);
    }
    let all = with_features(transform, clouds, &channels)?;
    transform.apply_weighted(
        &all.coordinates,
        &all.channels,
        &all.weights,
        &all.offsets,
        out,
    )
}

/// Atoms as the transform takes them.
#[derive(Default)]
struct Weighted {
    coordinates: Vec<[f32; 3]>,
    channels: Vec<u8>,
    weights: Vec<f32>,
    offsets: Vec<usize>,
}

impl Weighted {
    fn push(&mut self, coordinates: [f32; 3], channel: u8, weight: f32) {
        self.coordinates.push(coordinates);
        self.channels.push(channel);
        self.weights.push(weight);
    }
}

/// Every atom in the channel of its element, and again in those of its features that are not 0.
fn with_features(
    transform: &Transform,
    clouds: &neighborhoods::Clouds,
    channels: &[u8],
) -> Result<Weighted> {
    if clouds.features.len() != clouds.elements.len() {
        return Err(Error::internal(
            "neighborhoods without features for channels of features",
        ));
    }
    let asked: Vec<_> = transform.settings().features().collect();
    let mut all = Weighted::default();
    all.offsets.push(0);
    for cloud in clouds.offsets.windows(2) {
        for (i, &own) in (cloud[0]..).zip(&channels[cloud[0]..cloud[1]]) {
            let at = clouds.coordinates[i];
            all.push(at, own, 1.0);
            for &(index, channel, feature) in &asked {
                let value = clouds.features[i][feature as usize];
                if value != 0.0 && channel.is_of(clouds.sides[i]) {
                    all.push(at, index, value);
                }
            }
        }
        all.offsets.push(all.coordinates.len());
    }
    Ok(all)
}

/// The channel of each atom.
fn channels(transform: &Transform, clouds: &neighborhoods::Clouds) -> Vec<u8> {
    let atoms = clouds.elements.iter().zip(&clouds.sides);
    atoms
        .map(|(&z, &side)| transform.channel_of(z, side))
        .collect()
}

/// Zernikegrams `[clouds, dim]` of some clouds, divided by `factor`, where a model is.
///
/// # Errors
/// As [`of_clouds`]; a failure of the device.
pub fn normalised(
    transform: &Transform,
    clouds: &neighborhoods::Clouds,
    factor: f32,
    device: &Device,
) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if device.is_cuda() {
        return on_device(transform, clouds, device, 1.0 / factor);
    }
    let mut x = of_clouds(transform, clouds)?;
    x.iter_mut().for_each(|v| *v /= factor);
    Ok(Tensor::from_vec(
        x,
        (clouds.len(), transform.irreps().dim()),
        device,
    )?)
}

/// [`of_clouds`] times `scale`, made on a GPU: only atoms go there.
///
/// # Errors
/// As [`of_clouds`]; a failure of the device.
#[cfg(feature = "cuda")]
pub fn on_device(
    transform: &Transform,
    clouds: &neighborhoods::Clouds,
    device: &Device,
    scale: f32,
) -> Result<Tensor> {
    if transform.settings().ligand_weight != 1.0 {
        return Err(Error::input(
            "zernike.ligand_weight: only on CPUs so far; train with device = \"cpu\"",
        ));
    }
    if let Some((_, channel, _)) = transform.settings().features().next() {
        return Err(Error::input(format!(
            "zernike.channels, {channel}: features only on CPUs so far; train with device = \"cpu\""
        )));
    }
    transform.apply_on(
        device,
        &clouds.coordinates,
        &channels(transform, clouds),
        &clouds.offsets,
        scale,
    )
}

/// Writes the settings of a transform as attributes of `root`.
pub fn write_settings(root: &Node, settings: &Settings) -> Result<()> {
    root.set_attr("lmax", settings.lmax as u64)?;
    root.set_attr("nmax", settings.nmax as u64)?;
    root.set_attr("cutoff", settings.cutoff)?;
    root.set_attr_text("cutoff_units", "angstrom")?;
    let names: Vec<String> = settings.channels.iter().map(Channel::to_string).collect();
    root.set_attr_text("channels", &names.join(","))?;
    root.set_attr_text("weighting", settings.weighting.name())?;
    root.set_attr_text("binomial", settings.binomial.name())?;
    if settings.ligand_weight != 1.0 {
        root.set_attr("ligand_weight", settings.ligand_weight)?;
    }
    root.set_attr_text("layout", "degree l, channel, order n, order m")
}

/// Reads what [`write_settings`] wrote.
pub fn read_settings(root: &Node) -> Result<Settings> {
    let text = |name: &str| root.attr_text(name);
    let settings = Settings {
        lmax: root.attr::<u64>("lmax")? as usize,
        nmax: root.attr::<u64>("nmax")? as usize,
        cutoff: root.attr("cutoff")?,
        channels: text("channels")?
            .split(',')
            .map(|name| word(name).map_err(|e| Error::file(root.path(), e)))
            .collect::<Result<_>>()?,
        ligand_weight: match root.has_attr("ligand_weight") {
            true => root.attr("ligand_weight")?,
            false => 1.0,
        },
        weighting: word(&text("weighting")?).map_err(|e| Error::file(root.path(), e))?,
        binomial: word(&text("binomial")?).map_err(|e| Error::file(root.path(), e))?,
    };
    settings
        .validate()
        .map_err(|e| Error::file(root.path(), e))?;
    Ok(settings)
}

/// A setting from the word that names it in job files; the error lists the words.
pub fn word<T: DeserializeOwned>(name: &str) -> std::result::Result<T, Reason> {
    let word: StrDeserializer<Reason> = name.into_deserializer();
    T::deserialize(word)
}

/// An open file of clouds, checked but for the numbers in it.
struct Clouds {
    file: store::File,
    offsets: Vec<usize>,
    atoms: usize,
}

impl Clouds {
    fn open(path: &Path) -> Result<Self> {
        let file = store::open_plain(path)?;
        let shape = file.shape("coordinates")?;
        let &[atoms, 3] = shape.as_slice() else {
            return Err(bad(
                path,
                "coordinates",
                format!("shape {shape:?}, where [atoms, 3] is needed"),
            ));
        };
        let shape = file.shape("elements")?;
        if shape != [atoms] {
            return Err(bad(
                path,
                "elements",
                format!(
                    "shape {shape:?}, where [{atoms}] is needed, one for each row of coordinates"
                ),
            ));
        }
        if file.has("ligand") && file.shape("ligand")? != [atoms] {
            let what = format!("where [{atoms}] is needed, one for each row of coordinates");
            return Err(bad(path, "ligand", what));
        }
        let offsets: Vec<u64> = file.read("offsets")?;
        let offsets: Vec<usize> = offsets.into_iter().map(|o| o as usize).collect();
        check_offsets(&offsets, atoms).map_err(|what| bad(path, "offsets", what))?;
        Ok(Self {
            file,
            offsets,
            atoms,
        })
    }

    /// Ranges of clouds to be held in memory at once.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> {
        let clouds = self.offsets.len() - 1;
        let mut start = 0;
        std::iter::from_fn(move || {
            let limit = self.offsets.get(start)? + BLOCK_ATOMS;
            let fitting = self.offsets[start..].partition_point(|&end| end <= limit) - 1;
            let block = start..clouds.min(start + fitting.clamp(1, BLOCK_CLOUDS));
            start = block.end;
            (!block.is_empty()).then_some(block)
        })
    }

    fn transform(
        &self,
        transform: &Transform,
        clouds: Range<usize>,
        summary: &mut Summary,
    ) -> Result<Vec<f32>> {
        let path = self.file.path();
        let atoms = self.offsets[clouds.start]..self.offsets[clouds.end];
        let offsets: Vec<usize> = self.offsets[clouds.start..=clouds.end]
            .iter()
            .map(|o| o - atoms.start)
            .collect();
        let flat = self.file.read_rows::<f32>("coordinates", atoms.clone())?;
        let (coordinates, _) = flat.as_chunks::<3>();
        if let Some(i) = coordinates
            .iter()
            .position(|xyz| !xyz.iter().all(|c| c.is_finite()))
        {
            let cloud = clouds.start + offsets.partition_point(|&start| start <= i) - 1;
            let what = format!(
                "row {} (cloud {cloud}): not a finite number",
                atoms.start + i
            );
            return Err(bad(path, "coordinates", what));
        }
        let mut channels = Vec::with_capacity(coordinates.len());
        let numbers = self.file.read_rows::<i64>("elements", atoms.clone())?;
        let ligand = match self.file.has("ligand") {
            true => self.file.read_rows::<u8>("ligand", atoms.clone())?,
            false => vec![0; numbers.len()],
        };
        for (i, (number, ligand)) in numbers.into_iter().zip(ligand).enumerate() {
            let side = match ligand {
                0 => Side::Protein,
                _ => Side::Ligand,
            };
            let channel = u8::try_from(number)
                .ok()
                .filter(|&z| z <= elements::LAST)
                .map(|z| transform.channel_of(z, side))
                .ok_or_else(|| {
                    let what = format!("row {}: {number} is no atomic number", atoms.start + i);
                    bad(path, "elements", what)
                })?;
            summary.without_channel += usize::from(channel == DROP);
            let outside = channel != DROP && !transform.contains(&coordinates[i]);
            summary.outside += usize::from(outside);
            channels.push(channel);
        }
        let mut out = vec![0.0; clouds.len() * transform.irreps().dim()];
        transform.apply(coordinates, &channels, &offsets, &mut out)?;
        Ok(out)
    }
}

fn bad(path: &Path, dataset: &str, what: String) -> Error {
    Error::file(path, format!("dataset /{dataset}: {what}"))
}

fn check_offsets(offsets: &[usize], atoms: usize) -> std::result::Result<(), String> {
    let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) else {
        return Err("empty, where [clouds + 1] is needed".into());
    };
    if offsets.len() == 1 {
        return Err("one value, so no clouds; [clouds + 1] is needed".into());
    }
    if let Some(i) = offsets.windows(2).position(|w| w[0] > w[1]) {
        return Err(format!(
            "descends from {} to {} at row {}",
            offsets[i],
            offsets[i + 1],
            i + 1
        ));
    }
    if first != 0 || last != atoms {
        return Err(format!(
            "runs from {first} to {last}, where 0 to {atoms} (the number of atoms) is needed"
        ));
    }
    Ok(())
}
