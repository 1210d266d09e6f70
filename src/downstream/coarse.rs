//! What a trained Deep Signature model makes of trajectories: log-signatures, predictions, and
//! the cluster of every node at each level.

mod plots;

use crate::comm::{World, packed};
use crate::data::structure::b_factors;
use crate::data::trajectory::{Dataset, Graph};
use crate::models::Describes;
use crate::models::deep_signature::{Description, Graph as ModelGraph, clip, graphs};
use crate::store::{self, Kind, NewFile, Node, Storage};
use crate::tasks::Trained;
use crate::tasks::deep_signature::DeepSignatureKind;
use crate::{Error, Result};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// Segments that a rank computes before it hands them to rank 0.
const BLOCK: usize = 4;

/// A model and what prepares its input.
pub type CoarseGrainer = Trained<DeepSignatureKind>;

/// Results of one segment.
#[derive(Serialize, Deserialize)]
struct Row {
    /// `[S, terms]`; empty for a method without signatures.
    #[serde(with = "packed")]
    signature: Vec<f32>,
    #[serde(with = "packed")]
    prediction: Vec<f32>,
    /// Per level the cluster of each node.
    clusters: [Vec<u32>; 3],
}

impl CoarseGrainer {
    /// Runs the model on every segment of `dataset` and writes `out`; with `pdb` also one PDB
    /// file per graph of atoms into that folder, with `plots` pictures of the clearest segments
    /// (`coarse/plots.rs`). Collective.
    ///
    /// # Errors
    /// A dataset of other features, coordinates that cannot be read or used, an unwritable file.
    pub fn write(
        &self,
        world: &World,
        dataset: &Dataset,
        out: &Path,
        pdb: Option<&Path>,
        plots: Option<&Path>,
    ) -> Result<()> {
        let graphs = world.agree(self.graphs(dataset, pdb.is_some()))?;
        // The file is begun before the work: a folder that cannot be written to is reported at
        // once.
        let mut tables = world.on_root(|| Tables::create(out, dataset, &self.description))?;
        let beads = self.description.model.clusters;
        let empty = |g: &Graph| vec![0; g.nodes * beads];
        let mut votes: Vec<Vec<u32>> = match (world.is_root(), pdb) {
            (true, Some(_)) => dataset.graphs().iter().map(empty).collect(),
            _ => Vec::new(),
        };
        let mut predictions: Vec<Vec<f32>> = Vec::new();
        world.ordered(
            dataset.segments().len(),
            BLOCK,
            |ids| {
                ids.map(|id| self.row(dataset, &graphs, id as u32))
                    .collect()
            },
            |ids, rows: Vec<Row>| {
                for (id, row) in ids.zip(rows) {
                    if let Some(tables) = &mut tables {
                        tables.add(id, &row)?;
                    }
                    let graph = dataset.trajectory_of(id as u32).graph as usize;
                    if let Some(votes) = votes.get_mut(graph) {
                        for (node, &bead) in row.clusters[2].iter().enumerate() {
                            votes[node * beads + bead as usize] += 1;
                        }
                    }
                    predictions.push(row.prediction);
                }
                Ok(())
            },
        )?;
        world.on_root(|| {
            tables.map(Tables::finish).transpose()?;
            if let Some(folder) = pdb {
                write_structures(dataset, &votes, beads, folder)?;
            }
            if let Some(folder) = plots {
                plots::write(self, dataset, &graphs, &predictions, folder)?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// The graphs of a dataset as the model takes them, if it fits the model.
    fn graphs(&self, dataset: &Dataset, structures: bool) -> Result<Vec<Arc<ModelGraph>>> {
        let (given, trained) = (dataset.dimensions(), self.description.features);
        if given != trained {
            return Err(Error::file(
                dataset.path(),
                format!("{given} values per node, the model was trained on {trained}"),
            ));
        }
        if (dataset.kind() == Kind::InvariantPaths) != self.description.holographic {
            let what = match self.description.holographic {
                true => "coordinates, the model was trained on invariants",
                false => "invariants, the model was trained on other values",
            };
            return Err(Error::file(dataset.path(), what));
        }
        let atoms = dataset.kind() == Kind::Trajectories && dataset.dimensions() == 3;
        if structures && !(atoms && dataset.graphs().iter().all(|g| g.atoms.is_some())) {
            return Err(Error::file(
                dataset.path(),
                "its nodes are no atoms; there is no structure to write",
            ));
        }
        graphs(dataset, &self.description.model)
    }

    /// The results of one segment.
    fn row(&self, dataset: &Dataset, graphs: &[Arc<ModelGraph>], id: u32) -> Result<Row> {
        let clip = clip(dataset, graphs, &self.description, id, 0.0)?;
        let outputs = self.model.forward(&[clip])?;
        let [a, b, c] = outputs.coarse[0].levels.each_ref().map(|l| &l.assignment);
        let first = a.clone();
        let second = a.matmul(b)?;
        let third = second.matmul(c)?;
        let flat = |t: &Tensor| t.flatten_all()?.to_vec1::<f32>();
        let predicted = self.model.predict(&outputs.logits)?.concat();
        Ok(Row {
            signature: match &outputs.summary.segments {
                Some(s) => flat(&s.log_signatures)?,
                None => Vec::new(),
            },
            prediction: predicted.into_iter().map(|v| v as f32).collect(),
            clusters: [hard(&first)?, hard(&second)?, hard(&third)?],
        })
    }
}

/// The most likely cluster of every node.
fn hard(assignment: &Tensor) -> Result<Vec<u32>> {
    Ok(assignment.argmax(1)?.to_vec1::<u32>()?)
}

/// The output file while it is filled.
///
/// | name | shape | what |
/// |---|---|---|
/// | `segment/{trajectory,label,start,frames}` | [segments] | name and label of the trajectory, first frame and number of frames |
/// | `signature` | [segments, S, terms] f32 | log-signatures (Deep Signature only) |
/// | `prediction` | [segments, outputs] f32 | probability of class 1, of each class, or a standardised number |
/// | `clusters/{level1,level2,level3}` | [sum of nodes] u32 | cluster of every node; `clusters/offsets` has the first of each segment |
struct Tables {
    file: NewFile,
    clusters: Node,
    offsets: Vec<u64>,
    shape: Option<(usize, usize)>,
    segments: usize,
    parts: usize,
}

/// The first line of every PDB file of clusters.
pub const STRUCTURE: &str = "REMARK 250 HOLOSIG: B-FACTORS ARE THE NUMBERS OF LEARNED BEADS";

const LEVELS: [&str; 3] = ["level1", "level2", "level3"];

impl Tables {
    fn create(out: &Path, dataset: &Dataset, description: &Description) -> Result<Self> {
        let file = NewFile::create(out, Kind::Embeddings)?;
        let segments = dataset.segments();
        file.write_text("description", &description.to_toml()?)?;
        file.set_attr_text("dataset", &dataset.fingerprint())?;
        file.write_strings("classes", &description.classes)?;
        let group = file.create_group("segment")?;
        let names: Vec<&str> = (0..segments.len() as u32)
            .map(|id| dataset.trajectory_of(id).name.as_str())
            .collect();
        group.write_strings("trajectory", &names)?;
        let label = |id| dataset.trajectory_of(id).label.as_deref().unwrap_or("");
        let labels: Vec<&str> = (0..segments.len() as u32).map(label).collect();
        group.write_strings("label", &labels)?;
        let starts: Vec<u64> = segments.iter().map(|s| s.start).collect();
        let frames: Vec<u32> = segments.iter().map(|s| s.frames).collect();
        group.write("start", &[starts.len()], &starts, Storage::Compressed)?;
        group.write("frames", &[frames.len()], &frames, Storage::Compressed)?;
        let mut offsets = vec![0u64];
        for id in 0..segments.len() as u32 {
            offsets.push(offsets[id as usize] + dataset.graph_of(id).nodes as u64);
        }
        let clusters = file.create_group("clusters")?;
        clusters.write("offsets", &[offsets.len()], &offsets, Storage::Compressed)?;
        let total = offsets[segments.len()] as usize;
        for level in LEVELS {
            clusters.create::<u32>(level, &[total], Storage::Compressed)?;
        }
        Ok(Self {
            file,
            clusters,
            offsets,
            shape: None,
            segments: segments.len(),
            parts: description.model.segments,
        })
    }

    fn add(&mut self, id: usize, row: &Row) -> Result<()> {
        let shape = (row.signature.len(), row.prediction.len());
        if self.shape.is_none() {
            let (signature, prediction) = shape;
            let n = self.segments;
            if signature > 0 {
                let shape = [n, self.parts, signature / self.parts];
                self.file
                    .create::<f32>("signature", &shape, Storage::Plain)?;
            }
            self.file
                .create::<f32>("prediction", &[n, prediction], Storage::Plain)?;
            self.shape = Some(shape);
        }
        if !row.signature.is_empty() {
            self.file.write_rows("signature", id, &row.signature)?;
        }
        self.file.write_rows("prediction", id, &row.prediction)?;
        for (level, clusters) in LEVELS.iter().zip(&row.clusters) {
            self.clusters
                .write_rows(level, self.offsets[id] as usize, clusters)?;
        }
        Ok(())
    }

    /// Puts the file in its place.
    fn finish(self) -> Result<()> {
        drop(self.clusters);
        self.file.finish().map(drop)
    }
}

/// One PDB file per graph of atoms: the first frame of its first segment, the bead that most
/// segments put an atom into as its B-factor.
fn write_structures(
    dataset: &Dataset,
    votes: &[Vec<u32>],
    beads: usize,
    folder: &Path,
) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    for (number, graph) in dataset.graphs().iter().enumerate() {
        let Some(atoms) = &graph.atoms else {
            continue;
        };
        let ids = 0..dataset.segments().len() as u32;
        let mut of_graph = ids.filter(|&id| dataset.trajectory_of(id).graph as usize == number);
        let Some(id) = of_graph.next() else {
            continue;
        };
        let best = |v: &[u32]| (0..v.len()).rev().max_by_key(|&k| v[k]).unwrap_or(0) as f64;
        let bead: Vec<f64> = votes[number].chunks_exact(beads).map(best).collect();
        let points = dataset.segment(id)?.values;
        let text = b_factors::of_system(STRUCTURE, atoms, points.as_chunks().0, &bead)?;
        let path = folder.join(format!("graph-{number:06}.pdb"));
        store::write_bytes(&path, text.as_bytes())?;
    }
    Ok(())
}
