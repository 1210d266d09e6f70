//! The dataset file.
//!
//! | group | dataset | type, shape | meaning |
//! |---|---|---|---|
//! | `structures` | `id`, `file`, `format`, `digest`, `split` | string `[S]` | provenance, split |
//! | | `model` | i32 `[S]` | number of the model in the file |
//! | | `ligand` | i32 `[S]` | the residue that is the ligand of a complex, counted from the structure's first, -1 for none; in datasets with complexes, from version 2 on |
//! | | `affinity` | f64 `[S]` | pK = -log10 of Kd, Ki or IC50 in mol/l, NaN where unknown; where any is known |
//! | | `group` | string `[S]` | complexes of one group are kept together, empty for one by itself; where there are groups |
//! | | `atom_offsets`, `residue_offsets` | u64 `[S + 1]` | structure `i` is `offsets[i]..offsets[i + 1]` |
//! | `atoms` | `coordinates` | f32 `[A, 3]` | Å |
//! | | `element` | u8 `[A]` | atomic number, 0 if unknown |
//! | | `residue` | u32 `[A]` | counted from the structure's first residue |
//! | `residues` | `chain`, `icode`, `name` | string `[R]` | the author's |
//! | | `number` | i32 `[R]` | the author's |
//! | `centres` | `structure`, `atom` | u32 `[C]` | atom counted from the structure's first |
//!
//! The text dataset `settings` (TOML) tells how the structures were read.

use super::{Bound, Dataset, Provenance, label};
use crate::data::system::Residue;
use crate::store::{self, Digest, Kind, Node, Storage::Compressed};
use crate::{Error, Result};
use std::path::Path;

impl Dataset {
    /// Writes the dataset, whole or not at all. Equal content gives equal bytes.
    pub fn write(&self, path: &Path) -> Result<Digest> {
        store::write(path, Kind::Dataset, |root| {
            root.set_attr_text("coordinate_unit", "angstrom")?;
            root.write_text("settings", &self.settings)?;
            self.write_structures(&root.create_group("structures")?)?;
            let atoms = root.create_group("atoms")?;
            let flat = self.coordinates.as_flattened();
            atoms.write(
                "coordinates",
                &[self.coordinates.len(), 3],
                flat,
                Compressed,
            )?;
            atoms.write(
                "element",
                &[self.elements.len()],
                &self.elements,
                Compressed,
            )?;
            atoms.write(
                "residue",
                &[self.residue_of.len()],
                &self.residue_of,
                Compressed,
            )?;
            self.write_residues(&root.create_group("residues")?)?;
            let centres = root.create_group("centres")?;
            let shape = [self.centre_atom.len()];
            centres.write("structure", &shape, &self.centre_structure, Compressed)?;
            centres.write("atom", &shape, &self.centre_atom, Compressed)
        })
    }

    fn write_structures(&self, group: &Node) -> Result<()> {
        let texts =
            |f: fn(&Provenance) -> String| self.structures.iter().map(f).collect::<Vec<_>>();
        group.write_strings("id", &texts(|s| s.id.clone()))?;
        group.write_strings("file", &texts(|s| s.file.clone()))?;
        group.write_strings("format", &texts(|s| s.format.clone()))?;
        group.write_strings("digest", &texts(|s| format!("{:032x}", s.digest)))?;
        group.write_strings("split", &texts(|s| s.split.to_string()))?;
        let models: Vec<i32> = self.structures.iter().map(|s| s.model).collect();
        group.write("model", &[models.len()], &models, Compressed)?;
        self.write_complexes(group)?;
        let shape = [self.atom_offsets.len()];
        group.write("atom_offsets", &shape, &self.atom_offsets, Compressed)?;
        group.write("residue_offsets", &shape, &self.residue_offsets, Compressed)
    }

    /// What is known of complexes, as far as anything is.
    fn write_complexes(&self, group: &Node) -> Result<()> {
        let of = |s: &Provenance| s.complex.clone();
        let all: Vec<Option<Bound>> = self.structures.iter().map(of).collect();
        let known = |has: fn(&Bound) -> bool| all.iter().flatten().any(has);
        if known(|_| true) {
            let place = |c: &Option<Bound>| c.as_ref().map_or(-1, |c| c.ligand as i32);
            let ligands: Vec<i32> = all.iter().map(place).collect();
            group.write("ligand", &[ligands.len()], &ligands, Compressed)?;
        }
        if known(|c| c.affinity.is_some()) {
            let value = |c: &Option<Bound>| c.as_ref().and_then(|c| c.affinity);
            let values: Vec<f64> = all.iter().map(|c| value(c).unwrap_or(f64::NAN)).collect();
            group.write("affinity", &[values.len()], &values, Compressed)?;
        }
        if known(|c| c.group.is_some()) {
            let name = |c: &Option<Bound>| c.as_ref().and_then(|c| c.group.clone());
            let names: Vec<String> = all.iter().map(|c| name(c).unwrap_or_default()).collect();
            group.write_strings("group", &names)?;
        }
        Ok(())
    }

    fn write_residues(&self, group: &Node) -> Result<()> {
        let chains: Vec<&str> = self.residues.iter().map(|r| r.chain.as_str()).collect();
        let names: Vec<&str> = self.residues.iter().map(|r| r.name.as_str()).collect();
        let icodes: Vec<String> = self.residues.iter().map(|r| icode_text(r.icode)).collect();
        let numbers: Vec<i32> = self.residues.iter().map(|r| r.number).collect();
        group.write_strings("chain", &chains)?;
        group.write_strings("icode", &icodes)?;
        group.write_strings("name", &names)?;
        group.write("number", &[numbers.len()], &numbers, Compressed)
    }

    /// Reads a dataset file after verifying every byte of it.
    ///
    /// # Errors
    /// As [`store::open`]; arrays that do not fit together.
    pub fn open(path: &Path) -> Result<Self> {
        let root = store::open(path, Kind::Dataset)?;
        let (structures, atoms, centres) = (
            root.group("structures")?,
            root.group("atoms")?,
            root.group("centres")?,
        );
        let (flat, _) = atoms.read_shaped::<f32>("coordinates", &[None, Some(3)])?;
        let mut dataset = Dataset {
            structures: read_structures(path, &structures)?,
            atom_offsets: structures.read("atom_offsets")?,
            residue_offsets: structures.read("residue_offsets")?,
            coordinates: flat.as_chunks().0.to_vec(),
            elements: atoms.read("element")?,
            residue_of: atoms.read("residue")?,
            residues: read_residues(path, &root.group("residues")?)?,
            centre_structure: centres.read("structure")?,
            centre_atom: centres.read("atom")?,
            splits: Default::default(),
            settings: root.read_text("settings")?,
            fingerprint: root
                .header()
                .map(|h| h.digest.to_string())
                .unwrap_or_default(),
        };
        dataset.check().map_err(|what| Error::file(path, what))?;
        dataset.index_splits();
        Ok(dataset)
    }

    /// What does not fit together, if anything: indices are trusted from here on.
    fn check(&self) -> std::result::Result<(), String> {
        let ascending = |offsets: &[u64], last: usize| {
            offsets.len() == self.structures.len() + 1
                && offsets.first() == Some(&0)
                && offsets.last() == Some(&(last as u64))
                && offsets.is_sorted()
        };
        let fits = ascending(&self.atom_offsets, self.coordinates.len())
            && ascending(&self.residue_offsets, self.residues.len())
            && self.elements.len() == self.coordinates.len()
            && self.residue_of.len() == self.coordinates.len()
            && self.centre_structure.len() == self.centre_atom.len();
        if !fits {
            return Err("the lengths of its arrays do not fit together".into());
        }
        for (i, s) in self.structures.iter().enumerate() {
            let residues = self.residue_offsets[i + 1] - self.residue_offsets[i];
            if self
                .atoms(i)
                .residue_of
                .iter()
                .any(|&r| u64::from(r) >= residues)
            {
                return Err(format!(
                    "an atom of structure {} belongs to no residue",
                    s.id
                ));
            }
            let ligand = s.complex.as_ref().map(|c| c.ligand);
            if ligand.is_some_and(|r| u64::from(r) >= residues) {
                return Err(format!("the ligand of structure {} is no residue", s.id));
            }
        }
        let out_of_range = |(&s, &a): (&u32, &u32)| {
            s as usize >= self.structures.len()
                || a as usize >= self.atoms(s as usize).numbers.len()
        };
        if self
            .centre_structure
            .iter()
            .zip(&self.centre_atom)
            .any(out_of_range)
        {
            return Err("a centre is on no atom".into());
        }
        Ok(())
    }
}

fn icode_text(icode: u8) -> String {
    match icode {
        b' ' => String::new(),
        c => char::from(c).to_string(),
    }
}

fn read_structures(path: &Path, group: &Node) -> Result<Vec<Provenance>> {
    let ids = group.read_strings("id")?;
    let columns = [
        group.read_strings("file")?,
        group.read_strings("format")?,
        group.read_strings("digest")?,
    ];
    let splits = group.read_strings("split")?;
    let models: Vec<i32> = group.read("model")?;
    let n = ids.len();
    let complexes = read_complexes(group, n)?;
    let same = columns.iter().all(|c| c.len() == n) && [splits.len(), models.len()] == [n; 2];
    let Some(complexes) = complexes.filter(|_| same) else {
        return Err(Error::file(
            path,
            "the columns of /structures differ in length",
        ));
    };
    let [files, formats, digests] = columns;
    let mut out = Vec::with_capacity(n);
    for (i, id) in ids.into_iter().enumerate() {
        let digest = u128::from_str_radix(&digests[i], 16).map_err(|_| {
            Error::file(
                path,
                format!("structure {id}: digest {:?} is no number", digests[i]),
            )
        })?;
        out.push(Provenance {
            file: files[i].clone(),
            format: formats[i].clone(),
            digest,
            model: models[i],
            complex: complexes[i].clone(),
            split: splits[i]
                .parse()
                .map_err(|e| Error::file(path, format!("structure {id}: {e}")))?,
            id,
        });
    }
    Ok(out)
}

/// What is known of each of `n` structures as a complex. Files without complexes, and earlier ones,
/// have fewer columns. `None` if a column has another length.
fn read_complexes(group: &Node, n: usize) -> Result<Option<Vec<Option<Bound>>>> {
    let ligands: Vec<i32> = match group.has("ligand") {
        true => group.read("ligand")?,
        false => vec![-1; n],
    };
    let affinities: Vec<f64> = match group.has("affinity") {
        true => group.read("affinity")?,
        false => vec![f64::NAN; n],
    };
    let groups = match group.has("group") {
        true => group.read_strings("group")?,
        false => vec![String::new(); n],
    };
    if [ligands.len(), affinities.len(), groups.len()] != [n; 3] {
        return Ok(None);
    }
    let rows = ligands.into_iter().zip(affinities).zip(groups);
    let bound = |((ligand, affinity), group): ((i32, f64), String)| {
        Some(Bound {
            ligand: u32::try_from(ligand).ok()?,
            affinity: Some(affinity).filter(|a| a.is_finite()),
            group: Some(group).filter(|g| !g.is_empty()),
        })
    };
    Ok(Some(rows.map(bound).collect()))
}

fn read_residues(path: &Path, group: &Node) -> Result<Vec<Residue>> {
    let (chains, names) = (group.read_strings("chain")?, group.read_strings("name")?);
    let icodes = group.read_strings("icode")?;
    let numbers: Vec<i32> = group.read("number")?;
    let n = numbers.len();
    if chains.len() != n || names.len() != n || icodes.len() != n {
        return Err(Error::file(
            path,
            "the columns of /residues differ in length",
        ));
    }
    let long = |i: usize| {
        Error::file(
            path,
            format!("residue {i}: a name of more than eight ASCII characters"),
        )
    };
    (0..n)
        .map(|i| {
            Ok(Residue {
                chain: label(&chains[i]).ok_or_else(|| long(i))?,
                number: numbers[i],
                icode: icodes[i].bytes().next().unwrap_or(b' '),
                name: label(&names[i]).ok_or_else(|| long(i))?,
            })
        })
        .collect()
}
