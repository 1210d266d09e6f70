//! The dataset file of signals on the sphere.
//!
//! | dataset | type, shape | meaning |
//! |---|---|---|
//! | `coefficients` | f32 `[N, D]` | not normalised; degree by degree, channel by channel, order by order |
//! | `id`, `label`, `subclass`, `split` | string `[N]` | `label` is empty where unknown |
//! | `rotation` | f64 `[N, 3, 3]` | of the grid (images) or of the shape, image axes |
//!
//! Attributes of the root: `lmax`, `bandwidth`, `rings` (`driscoll-healy` or `soft`), `channels`. The
//! text dataset `settings` (TOML) tells how the signals were made.

use super::{Signal, Spheres};
use crate::comm::World;
use crate::data::zernikegrams::word;
use crate::so3::sphere::Grid;
use crate::store::{self, Digest, Kind, Node, Storage::Compressed};
use crate::{Error, Result};
use std::path::Path;

impl Signal {
    /// Writes the signal's attributes.
    ///
    /// # Errors
    /// A failure to write.
    pub fn write(&self, root: &Node) -> Result<()> {
        root.set_attr("lmax", self.lmax as u64)?;
        root.set_attr("bandwidth", self.grid.bandwidth as u64)?;
        root.set_attr_text("rings", self.grid.rings.name())?;
        root.set_attr_text("channels", &self.channels.join(","))?;
        root.set_attr_text(
            "layout",
            "degree l, channel, order m; orthonormal real harmonics, y polar",
        )
    }

    /// Reads what [`Signal::write`] wrote.
    ///
    /// # Errors
    /// A missing attribute, settings out of range.
    pub fn read(root: &Node) -> Result<Self> {
        let rings = root.attr_text("rings")?;
        let signal = Self {
            lmax: root.attr::<u64>("lmax")? as usize,
            grid: Grid {
                rings: word(&rings).map_err(|e| Error::file(root.path(), e))?,
                bandwidth: root.attr::<u64>("bandwidth")? as usize,
            },
            channels: root
                .attr_text("channels")?
                .split(',')
                .map(str::to_string)
                .collect(),
        };
        signal.check().map_err(|e| e.in_file(root.path()))?;
        Ok(signal)
    }
}

impl Spheres {
    /// Writes the dataset, whole or not at all. Equal content gives equal bytes.
    ///
    /// # Errors
    /// An unwritable folder, a full disk.
    pub fn write(&self, path: &Path) -> Result<Digest> {
        store::write(path, Kind::Spheres, |root| {
            self.signal.write(root)?;
            root.write_text("settings", &self.settings)?;
            let n = self.len();
            root.write(
                "coefficients",
                &[n, self.dim()],
                &self.coefficients,
                Compressed,
            )?;
            root.write_strings("id", &self.ids)?;
            root.write_strings("label", &self.labels)?;
            root.write_strings("subclass", &self.subclasses)?;
            let splits: Vec<String> = self.splits.iter().map(|s| s.to_string()).collect();
            root.write_strings("split", &splits)?;
            let flat = self.rotations.as_flattened().as_flattened();
            root.write("rotation", &[n, 3, 3], flat, Compressed)
        })
    }

    /// Reads a dataset on all ranks; rank 0 verifies its bytes. Collective.
    ///
    /// # Errors
    /// As [`store::open`]; arrays that do not fit together, numbers that are not finite.
    pub fn open(world: &World, path: &Path) -> Result<Self> {
        let verified = world.on_root(|| store::open(path, Kind::Spheres))?;
        let opened = match verified {
            Some(file) => Ok(file),
            None => store::open_trusted(path, Kind::Spheres),
        };
        world.agree(opened.and_then(|file| Self::load(path, &file)))
    }

    fn load(path: &Path, root: &store::File) -> Result<Self> {
        let signal = Signal::read(root)?;
        let dim = signal.irreps().dim();
        let (coefficients, _) = root.read_shaped::<f32>("coefficients", &[None, Some(dim)])?;
        let (rotations, _) = root.read_shaped::<f64>("rotation", &[None, Some(3), Some(3)])?;
        let splits = root.read_strings("split")?;
        let splits = splits.iter().map(|s| s.parse());
        let read = Self {
            signal,
            ids: root.read_strings("id")?,
            labels: root.read_strings("label")?,
            subclasses: root.read_strings("subclass")?,
            splits: splits.collect::<Result<_>>().map_err(|e| e.in_file(path))?,
            rotations: rotations.as_chunks::<3>().0.as_chunks::<3>().0.to_vec(),
            coefficients,
            settings: root.read_text("settings")?,
            by_split: Default::default(),
            fingerprint: root
                .header()
                .map(|h| h.digest.to_string())
                .unwrap_or_default(),
        };
        read.checked().map_err(|e| e.in_file(path))
    }
}
