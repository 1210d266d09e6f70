//! Pocket files, written and read.

use super::{Features, Pocket, Pocketer, View, features};
use crate::data::complexes::contacts::{contact_names, element_names};
use crate::data::complexes::{Listing, clusters};
use crate::data::zernikegrams::write_settings;
use crate::models::Describes;
use crate::store::{self, Kind, Node, Storage};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Rows of `residues/invariants` that lie together in the file.
const CHUNK: usize = 1024;

/// Everything but the rows.
pub(super) fn describe(root: &Node, pocketer: &Pocketer) -> Result<()> {
    let (settings, d) = (pocketer.settings(), &pocketer.embedder().description);
    root.set_attr_text("code_version", env!("CARGO_PKG_VERSION"))?;
    root.set_attr_text("checkpoint_hash", &pocketer.embedder().hash)?;
    root.set_attr("norm_factor", d.norm_factor)?;
    root.set_attr("pocket_cutoff", settings.cutoff)?;
    root.set_attr_text("pool", settings.pool.name())?;
    root.set_attr_text("centres", settings.centres.name())?;
    root.set_attr_text("contact_names", &contact_names().join(","))?;
    root.set_attr_text("ligand_element_names", &element_names().join(","))?;
    if !settings.sites.is_empty() {
        root.set_attr_text("sites", &settings.sites.to_string())?;
    }
    if let Some(seed) = settings.untrained {
        root.set_attr("untrained_seed", seed)?;
    }
    root.set_attr_text("units", UNITS)?;
    write_settings(root, &d.zernike)?;
    root.write_text("description", &d.to_toml()?)?;
    let residues = root.create_group("residues")?;
    residues.create_growing::<f32>("invariants", &[pocketer.latent()], CHUNK)
}

const UNITS: &str = "pocket*, zernike_invariants, residues/invariants: none; residues/distance, \
                     pocket_cutoff: angstrom; affinity: -log10 of mol/l; contacts: pairs of atoms";

/// What a pocket of the file is, in words.
fn definition(root: &Node) -> Result<String> {
    let (cutoff, pool) = (root.attr::<f64>("pocket_cutoff")?, root.attr_text("pool")?);
    let sites = match root.has_attr("sites") {
        true => format!(", at {}", root.attr_text("sites")?),
        false => String::new(),
    };
    let centres = match root.has_attr("centres") {
        true => root.attr_text("centres")?,
        false => "ca".into(),
    };
    let centres = match centres.as_str() {
        "ca" => String::new(),
        other => format!(", around {other}"),
    };
    Ok(format!("within {cutoff} Å, {pool}{centres}{sites}"))
}

/// One row a complex, as rank 0 collects them.
#[derive(Default)]
pub struct Table {
    /// Places in the listing.
    numbers: Vec<usize>,
    /// Without the residues' invariants, which go to the file as they come.
    pockets: Vec<Pocket>,
    /// Id and reason.
    skipped: Vec<(String, String)>,
    /// Invariants of the last residues, which do not fill a chunk of the file yet: every write to a
    /// chunk compresses all of it.
    waiting: Vec<f32>,
}

impl Table {
    pub fn len(&self) -> usize {
        self.pockets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.pockets.is_empty()
    }

    pub fn residues(&self) -> usize {
        self.pockets.iter().map(|p| p.residues.len()).sum()
    }

    pub fn skipped(&self) -> usize {
        self.skipped.len()
    }

    pub(super) fn push(&mut self, root: &Node, number: usize, mut pocket: Pocket) -> Result<()> {
        let chunk = CHUNK * pocket.invariants.len() / pocket.residues.len().max(1);
        self.waiting.append(&mut pocket.invariants);
        self.numbers.push(number);
        self.pockets.push(pocket);
        let full = self.waiting.len() - self.waiting.len() % chunk.max(1);
        if full == 0 {
            return Ok(());
        }
        let full: Vec<f32> = self.waiting.drain(..full).collect();
        root.group("residues")?.append_rows("invariants", &full)
    }

    pub(super) fn skip(&mut self, id: &str, reason: String) {
        self.skipped.push((id.to_string(), reason));
    }

    /// Writes what has been collected.
    pub(super) fn write(&self, root: &Node, pocketer: &Pocketer, listing: &Listing) -> Result<()> {
        let entries: Vec<_> = self.numbers.iter().map(|&i| &listing.entries[i]).collect();
        let ids: Vec<&str> = entries.iter().map(|e| e.id.as_str()).collect();
        root.write_strings("ids", &ids)?;
        self.view(root, "pocket", |p| &p.pocket)?;
        if pocketer.settings().untrained.is_some() {
            self.view(root, "pocket_untrained", |p| &p.untrained)?;
        }
        self.matrix(root, "zernike_invariants", |p| &p.zernike)?;
        self.matrix(root, "contacts", |p| &p.facts.contacts)?;
        let chains: Vec<Vec<String>> = self
            .pockets
            .iter()
            .map(|p| p.facts.sequences.clone())
            .collect();
        let clusters = clusters::clusters(&chains);
        let clusters: Vec<String> = clusters.iter().map(usize::to_string).collect();
        root.write_strings(CLUSTER, &clusters)?;
        if self.pockets.iter().any(|p| p.affinity.is_some()) {
            self.column(root, "affinity", |p| p.affinity.unwrap_or(f64::NAN))?;
        }
        if entries.iter().any(|e| e.split.is_some()) {
            let text = |s: &Option<crate::data::Split>| s.map_or(String::new(), |s| s.to_string());
            let splits: Vec<String> = entries.iter().map(|e| text(&e.split)).collect();
            root.write_strings("split", &splits)?;
        }
        if entries.iter().any(|e| e.group.is_some()) {
            let groups: Vec<&str> = entries
                .iter()
                .map(|e| e.group.as_deref().unwrap_or(""))
                .collect();
            root.write_strings("group", &groups)?;
        }
        let columns = root.create_group("columns")?;
        for (i, name) in stored_names(&listing.columns).iter().enumerate() {
            let values: Vec<&str> = entries.iter().map(|e| e.columns[i].as_str()).collect();
            columns.write_strings(name, &values)?;
        }
        self.write_facts(root)?;
        let residues = root.group("residues")?;
        residues.append_rows("invariants", &self.waiting)?;
        self.write_residues(&residues)?;
        let skipped = root.create_group("skipped")?;
        let (ids, reasons): (Vec<_>, Vec<_>) = self.skipped.iter().cloned().unzip();
        skipped.write_strings("id", &ids)?;
        skipped.write_strings("reason", &reasons)
    }

    /// The pooled invariants of one encoder.
    fn view(&self, root: &Node, name: &str, of: impl Fn(&Pocket) -> &View) -> Result<()> {
        self.matrix(root, name, |p| &of(p).with)?;
        self.matrix(root, &format!("{name}_without"), |p| &of(p).without)?;
        self.matrix(root, &format!("{name}_difference"), |p| &of(p).difference)?;
        self.matrix(root, &format!("{name}_products"), |p| &of(p).products)
    }

    fn matrix<T: store::Element>(
        &self,
        root: &Node,
        name: &str,
        of: impl Fn(&Pocket) -> &Vec<T>,
    ) -> Result<()> {
        let width = of(&self.pockets[0]).len();
        let rows: Vec<T> = self
            .pockets
            .iter()
            .flat_map(|p| of(p).iter().copied())
            .collect();
        root.write(name, &[self.len(), width], &rows, Storage::Plain)
    }

    fn column<T: store::Element>(
        &self,
        root: &Node,
        name: &str,
        of: impl Fn(&Pocket) -> T,
    ) -> Result<()> {
        let values: Vec<T> = self.pockets.iter().map(of).collect();
        root.write(name, &[values.len()], &values, Storage::Plain)
    }

    fn write_facts(&self, root: &Node) -> Result<()> {
        let counts = root.create_group("counts")?;
        self.column(&counts, "residues", |p| p.residues.len() as i32)?;
        self.column(&counts, "pocket_residues", |p| p.facts.pocket_residues)?;
        self.column(&counts, "neighborhood_atoms", |p| {
            p.facts.neighborhood_atoms
        })?;
        self.column(&counts, "neighborhood_atoms_without_channel", |p| {
            p.facts.neighborhood_without_channel
        })?;
        self.column(&counts, "shared_atoms", |p| p.facts.shared_atoms)?;
        let ligand = root.create_group("ligand")?;
        self.matrix(&ligand, "elements", |p| &p.facts.ligand_elements)?;
        self.column(&ligand, "heavy_atoms", |p| p.facts.ligand_heavy_atoms)?;
        self.column(&ligand, "atoms_without_channel", |p| {
            p.facts.ligand_without_channel
        })?;
        let formulas: Vec<&str> = self
            .pockets
            .iter()
            .map(|p| p.facts.ligand_formula.as_str())
            .collect();
        ligand.write_strings("formula", &formulas)
    }

    fn write_residues(&self, group: &Node) -> Result<()> {
        let mut offsets = vec![0u64];
        for p in &self.pockets {
            offsets.push(offsets[offsets.len() - 1] + p.residues.len() as u64);
        }
        group.write("offsets", &[offsets.len()], &offsets, Storage::Plain)?;
        let all = || self.pockets.iter().flat_map(|p| &p.residues);
        let texts = |of: fn(&crate::data::system::Residue) -> String| -> Vec<String> {
            all().map(of).collect()
        };
        group.write_strings("chain", &texts(|r| r.chain.to_string()))?;
        let numbers: Vec<i32> = all().map(|r| r.number).collect();
        group.write("number", &[numbers.len()], &numbers, Storage::Compressed)?;
        let icode = texts(|r| char::from(r.icode).to_string().trim().to_string());
        group.write_strings("icode", &icode)?;
        group.write_strings("name", &texts(|r| r.name.to_string()))?;
        let distances: Vec<f32> = self
            .pockets
            .iter()
            .flat_map(|p| p.distances.iter().copied())
            .collect();
        group.write(
            "distance",
            &[distances.len()],
            &distances,
            Storage::Compressed,
        )
    }
}

/// A pocket file without its residues, in memory.
#[derive(Debug, Clone)]
pub struct Pockets {
    pub path: PathBuf,
    pub ids: Vec<String>,
    /// Name, rows `[n, width]` and width of every kind of features.
    pub features: Vec<Features>,
    /// -log10 of mol/l; NaN where unknown. Empty if the file has none.
    pub affinity: Vec<f64>,
    /// Named columns of text: `split`, `group` and those of the source.
    pub columns: Vec<(String, Vec<String>)>,
    pub checkpoint_hash: String,
    /// Cutoff and pooling, in words.
    pub definition: String,
}

impl Pockets {
    /// # Errors
    /// A damaged file or one of another kind.
    pub fn read(path: &Path) -> Result<Self> {
        let root = store::open(path, Kind::Pockets)?;
        let ids = root.read_strings("ids")?;
        let features = features::read(&root, ids.len())?;
        let affinity = match root.has("affinity") {
            true => root.read("affinity")?,
            false => Vec::new(),
        };
        let mut columns = Vec::new();
        for name in ["split", "group", CLUSTER]
            .into_iter()
            .filter(|name| root.has(name))
        {
            columns.push((name.to_string(), root.read_strings(name)?));
        }
        let others = root.group("columns")?;
        for name in others.names()? {
            let values = others.read_strings(&name)?;
            columns.push((name, values));
        }
        let pockets = Self {
            path: path.to_path_buf(),
            ids,
            features,
            affinity,
            columns,
            checkpoint_hash: root.attr_text("checkpoint_hash")?,
            definition: definition(&root)?,
        };
        pockets.check()?;
        Ok(pockets)
    }

    fn check(&self) -> Result<()> {
        let n = self.ids.len();
        let whole = self.features.iter().all(|f| f.rows.len() == n * f.width)
            && self.columns.iter().all(|c| c.1.len() == n)
            && (self.affinity.is_empty() || self.affinity.len() == n);
        match whole {
            true => Ok(()),
            false => Err(Error::file(&self.path, "columns of different lengths")),
        }
    }

    /// A column of text.
    ///
    /// # Errors
    /// No such column; the message names those there are.
    pub fn column(&self, name: &str) -> Result<&[String]> {
        let found = self.columns.iter().find(|c| c.0 == name);
        found.map(|c| c.1.as_slice()).ok_or_else(|| {
            let all: Vec<&str> = self.columns.iter().map(|c| c.0.as_str()).collect();
            let all = match all.is_empty() {
                true => "none".to_string(),
                false => all.join(", "),
            };
            Error::file(&self.path, format!("no column {name:?}; there are: {all}"))
        })
    }
}

/// The column of clusters of the proteins by sequence.
pub const CLUSTER: &str = "sequence_cluster";

/// Names under which a user's columns can be datasets of one group: a slash would make a group, a
/// point is the group itself, and `split` and `group` are columns with a role. A column without a
/// name gets that of its place.
fn stored_names(columns: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (i, column) in columns.iter().enumerate() {
        let plain = column.replace(['/', '\0'], "_");
        let plain = match plain.as_str() {
            "" | "." => format!("column_{}", i + 1),
            _ => plain,
        };
        let taken = |name: &str| {
            matches!(name, "split" | "group" | CLUSTER)
                || names.iter().chain(columns).filter(|n| *n == name).count()
                    > usize::from(name == column)
        };
        let mut others = (2..).map(|k| format!("{plain}_{k}"));
        let name = match taken(&plain) {
            true => others.find(|n| !taken(n)).unwrap_or_default(),
            false => plain.clone(),
        };
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::stored_names;

    #[test]
    fn names_of_columns_are_told_apart() {
        let names = |columns: &[&str]| {
            stored_names(&columns.iter().map(|c| c.to_string()).collect::<Vec<_>>())
        };
        assert_eq!(
            names(&["", "a/b", "a_b", "split", "."]),
            ["column_1", "a_b_2", "a_b", "split_2", "column_5"]
        );
        assert_eq!(names(&["a/b", "a/b", "a_b_2"]), ["a_b", "a_b_3", "a_b_2"]);
        assert_eq!(names(&["", "column_1"]), ["column_1_2", "column_1"]);
    }
}
