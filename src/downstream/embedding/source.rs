//! Where the zernikegrams of residues come from.

use crate::comm::World;
use crate::data::Split;
use crate::data::dataset::{Dataset, ResidueId};
use crate::data::neighborhoods::Finder;
use crate::data::sites::Sites;
use crate::data::zernikegrams::{of_centres, read_settings};
use crate::models::hvae::Description;
use crate::ops::zernike::{Settings, Transform};
use crate::store::{self, Header, Node};
use crate::{Error, Result, files};
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// An ordered collection of residue neighborhoods that every thread of every rank can reach.
pub trait Source: Sync {
    /// For messages and for the record: a file, or how many.
    fn name(&self) -> String;

    /// Number of residues.
    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Who the residues are, if the source knows.
    fn residues(&self) -> Result<Option<Residues>>;

    /// Zernikegrams `[rows, dim]`, not normalised.
    fn zernikegrams(&self, rows: Range<usize>) -> Result<Vec<f32>>;
}

/// Names of residues, one entry per residue in each column.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Residues {
    pub structure: Vec<String>,
    pub chain: Vec<String>,
    /// As the structure file numbers them.
    pub number: Vec<i32>,
    /// Insertion code; empty for most.
    pub icode: Vec<String>,
    /// Three-letter name.
    pub name: Vec<String>,
}

impl Residues {
    /// Names of some centres of a dataset.
    pub fn of(dataset: &Dataset, centres: &[u32]) -> Self {
        let mut columns = Self::default();
        centres
            .iter()
            .for_each(|&c| columns.push(dataset.residue(c)));
        columns
    }

    fn push(&mut self, id: ResidueId) {
        let residue = id.residue;
        self.structure.push(id.structure.to_string());
        self.chain.push(residue.chain.to_string());
        self.number.push(residue.number);
        let icode = char::from(residue.icode);
        self.icode.push(icode.to_string().trim().to_string());
        self.name.push(residue.name.to_string());
    }

    pub fn write(&self, group: &Node) -> Result<()> {
        group.write_strings("structure", &self.structure)?;
        group.write_strings("chain", &self.chain)?;
        group.write(
            "number",
            &[self.number.len()],
            &self.number,
            store::Storage::Compressed,
        )?;
        group.write_strings("icode", &self.icode)?;
        group.write_strings("name", &self.name)
    }

    pub fn read(group: &Node) -> Result<Self> {
        Ok(Self {
            structure: group.read_strings("structure")?,
            chain: group.read_strings("chain")?,
            number: group.read("number")?,
            icode: group.read_strings("icode")?,
            name: group.read_strings("name")?,
        })
    }
}

/// Zernikegrams that lie in a file already: dataset `zernikegram` `[n, dim]`, and `residues` if
/// the file has that group (as `holosig embed --reconstruct` writes it).
pub struct ZernikegramFile {
    path: PathBuf,
    root: store::File,
    len: usize,
}

impl ZernikegramFile {
    /// Opens on every rank; rank 0 verifies a file of ours.
    ///
    /// # Errors
    /// A damaged file, one without zernikegrams, zernikegrams of other settings or length.
    pub fn open(world: &World, path: &Path, settings: &Settings) -> Result<Self> {
        world.on_root(|| verify(path))?;
        world.agree(Self::open_here(path, settings))
    }

    fn open_here(path: &Path, settings: &Settings) -> Result<Self> {
        let root = store::open_plain_trusted(path)?;
        // A user's own file need not say how its zernikegrams were made.
        if root.has_attr("lmax") {
            let made_with = read_settings(&root)?;
            if made_with != *settings {
                let what = first_difference(&made_with, settings)?;
                return Err(Error::file(path, what));
            }
        }
        let dim = settings.irreps().dim();
        let shape = root.shape("zernikegram")?;
        let &[len, has] = &shape[..] else {
            let what =
                format!("dataset /zernikegram has shape {shape:?}, where [n, {dim}] is needed");
            return Err(Error::file(path, what));
        };
        if has != dim {
            let what = format!(
                "zernikegrams of length {has}, where the model takes {dim}: \
                 they were made with another lmax, nmax or other channels"
            );
            return Err(Error::file(path, what));
        }
        Ok(Self {
            path: path.to_path_buf(),
            root,
            len,
        })
    }
}

/// The first setting that differs, in words.
fn first_difference(has: &Settings, needs: &Settings) -> Result<String> {
    let text = |s: &Settings| toml::to_string(s).map_err(Error::internal);
    let (has, needs) = (text(has)?, text(needs)?);
    let pair = has.lines().zip(needs.lines()).find(|(h, n)| h != n);
    let (has, needs) = pair.unwrap_or_default();
    Ok(format!(
        "zernikegrams made with {has}, where the model needs {needs}"
    ))
}

/// Checks the bytes of a file that holosig wrote (any other HDF5 file has no checksum to check), and
/// that it can be read.
fn verify(path: &Path) -> Result<()> {
    let mut start = [0; 8];
    let ours = files::open(path)?
        .read_exact(&mut start)
        .is_ok_and(|()| &start == b"holosig ");
    if ours {
        Header::read(path)?.verify(path)?;
    }
    store::open_plain(path).map(drop)
}

impl Source for ZernikegramFile {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn len(&self) -> usize {
        self.len
    }

    fn residues(&self) -> Result<Option<Residues>> {
        if !self.root.has("residues") {
            return Ok(None);
        }
        let residues = Residues::read(&self.root.group("residues")?)?;
        if residues.number.len() != self.len {
            let what = format!(
                "{} residues for {} zernikegrams",
                residues.number.len(),
                self.len
            );
            return Err(Error::file(&self.path, what));
        }
        Ok(Some(residues))
    }

    fn zernikegrams(&self, rows: Range<usize>) -> Result<Vec<f32>> {
        self.root.read_rows("zernikegram", rows)
    }
}

/// Neighborhoods of a dataset: all of its centres or those of one split, in file order.
pub struct Neighborhoods<'a> {
    name: String,
    finder: Finder<'a>,
    centres: Vec<u32>,
    transform: Transform,
}

impl<'a> Neighborhoods<'a> {
    /// `name` says where the dataset came from.
    ///
    /// # Errors
    /// Settings out of range.
    pub fn new(
        name: String,
        dataset: &'a Dataset,
        split: Option<Split>,
        description: &Description,
    ) -> Result<Self> {
        let centres = match split {
            Some(split) => dataset.split(split).to_vec(),
            None => (0..dataset.len() as u32).collect(),
        };
        Ok(Self {
            name,
            finder: Finder::new(dataset, description.neighborhood()),
            centres,
            transform: Transform::new(&description.zernike)?,
        })
    }

    /// Only the residues at some places.
    ///
    /// # Errors
    /// None of the residues is at any of them.
    pub fn at(mut self, sites: &Sites) -> Result<Self> {
        let dataset = self.finder.dataset();
        let before = self.centres.len();
        self.centres
            .retain(|&centre| sites.have(dataset.residue(centre).residue));
        match self.centres.is_empty() && !sites.is_empty() {
            true => Err(Error::file(
                &self.name,
                format!("none of the {before} residues is at {sites}"),
            )),
            false => Ok(self),
        }
    }
}

impl Source for Neighborhoods<'_> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn len(&self) -> usize {
        self.centres.len()
    }

    fn residues(&self) -> Result<Option<Residues>> {
        Ok(Some(Residues::of(self.finder.dataset(), &self.centres)))
    }

    fn zernikegrams(&self, rows: Range<usize>) -> Result<Vec<f32>> {
        of_centres(&self.transform, &self.finder, &self.centres[rows])
    }
}
