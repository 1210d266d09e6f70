//! Neighborhoods of residues and their reconstructions as densities in space, in the frames that the
//! model gives them.

use super::volume::Volume;
use crate::data::dataset::Dataset;
use crate::data::neighborhoods::{Clouds, Finder};
use crate::data::zernikegrams::of_clouds;
use crate::downstream::embedding::Embedder;
use crate::elements;
use crate::ops::zernike::Transform;
use crate::so3::rotation::{Matrix, rotate};
use crate::so3::wigner::turned;
use crate::store::{self, Content, Output};
use crate::{Error, Result};
use std::fmt::{Display, Write};
use std::path::{Path, PathBuf};

/// The frame of a decoder that is left alone.
const IDENTITY: [f32; 9] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];

/// Every PDB file has this in its first line.
const MARK: &str = "about its CA, in the frame of the model";
/// What is compared.
const SIDES: [&str; 2] = ["input", "rebuilt"];
/// Endings of volumes.
const VOLUMES: [&str; 2] = ["ccp4", "dx"];

/// What [`write()`] writes into `folder` for these centres.
pub fn outputs(
    embedder: &Embedder,
    dataset: &Dataset,
    centres: &[u32],
    folder: &Path,
) -> Vec<Output> {
    let content = || Content::marked("a residue of holosig generate", MARK);
    let mut outputs = Vec::new();
    for &centre in centres {
        let name = name_of(dataset, centre);
        let atoms = folder.join(format!("{name}.pdb"));
        for what in SIDES {
            for channel in &embedder.description.zernike.channels {
                let label = label(&name, what, channel);
                let files = VOLUMES.map(|end| folder.join(format!("{label}.{end}")));
                outputs.extend(files.map(|f| Output::new(f, content()).known_by(&atoms)));
            }
        }
        outputs.push(Output::new(atoms, content()));
    }
    outputs
}

/// The name of a volume, without its ending.
fn label(name: &str, what: &str, channel: impl Display) -> String {
    format!("{name}-{what}-{channel}")
}

/// Writes for each centre the density of every channel, of the input (turned into its frame) and of
/// what the decoder makes of its latent in the canonical frame, as CCP4/MRC and DX volumes of
/// `side`^3 points, and the atoms in the frame as a PDB file. Returns the names of the PDB files.
///
/// # Errors
/// A cloud without a frame, an unwritable folder.
pub fn write(
    embedder: &Embedder,
    dataset: &Dataset,
    centres: &[u32],
    side: usize,
    folder: &Path,
) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    let description = &embedder.description;
    let transform = Transform::new(&description.zernike)?;
    let finder = Finder::new(dataset, description.neighborhood());
    let factor = description.norm_factor as f32;
    let points = Volume::points(side, description.zernike.cutoff);
    let mut files = Vec::new();
    for &centre in centres {
        let clouds = finder.clouds(&[centre]);
        let x = of_clouds(&transform, &clouds)?;
        let block = embedder.embed(&x, false)?;
        let frame: Matrix =
            std::array::from_fn(|i| std::array::from_fn(|j| block.frames[3 * i + j].into()));
        let wide: Vec<f64> = x.iter().map(|&v| v.into()).collect();
        let input: Vec<f32> = turned(transform.irreps(), &wide, &frame)
            .into_iter()
            .map(|v| v as f32)
            .collect();
        let mut rebuilt = embedder.decode(&block.invariants, &IDENTITY)?;
        rebuilt.iter_mut().for_each(|c| *c *= factor);
        let name = name_of(dataset, centre);
        for (zernikegram, what) in [&input, &rebuilt].into_iter().zip(SIDES) {
            let field = transform.field(zernikegram, &points)?;
            let channels = &description.zernike.channels;
            for (i, channel) in channels.iter().enumerate() {
                let values = field
                    .iter()
                    .skip(i)
                    .step_by(channels.len())
                    .map(|&v| v as f32)
                    .collect();
                let volume = Volume::new(side, description.zernike.cutoff, values)?;
                let label = label(&name, what, channel);
                let [ccp4, dx] = VOLUMES.map(|end| folder.join(format!("{label}.{end}")));
                store::write_bytes(&ccp4, &volume.to_ccp4(&label))?;
                store::write_bytes(&dx, volume.to_dx(&label).as_bytes())?;
            }
        }
        let path = folder.join(format!("{name}.pdb"));
        store::write_bytes(&path, pdb(&clouds, &frame, &name).as_bytes())?;
        files.push(path);
    }
    Ok(files)
}

/// A name for files: structure, chain, number, insertion code and residue.
fn name_of(dataset: &Dataset, centre: u32) -> String {
    let id = dataset.residue(centre);
    let r = id.residue;
    let icode = char::from(r.icode).to_string();
    let name = format!(
        "{}-{}{}{}-{}",
        id.structure,
        r.chain,
        r.number,
        icode.trim(),
        r.name
    );
    name.replace(|c: char| !(c.is_ascii_alphanumeric() || c == '-'), "_")
}

/// The atoms of a cloud, turned by `frame` about its centre, as a PDB file.
fn pdb(clouds: &Clouds, frame: &Matrix, name: &str) -> String {
    let mut out = format!("REMARK   {name}, {MARK}\n");
    for (i, (v, &number)) in clouds.coordinates.iter().zip(&clouds.elements).enumerate() {
        let [x, y, z] = rotate(frame, v.map(f64::from));
        let element = elements::symbol(number).unwrap_or("X").to_ascii_uppercase();
        let serial = (i + 1) % 100_000;
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "HETATM{serial:5} {element:>2}   UNK A   1    {x:8.3}{y:8.3}{z:8.3}  1.00  0.00          {element:>2}"
        );
    }
    out + "END\n"
}
