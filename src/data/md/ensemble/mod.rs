//! The trajectories of a manifest: frames and graphs of nodes.

mod bonds;
mod frames;
mod gro;
mod nodes;
mod pdb;
mod periodic;
mod prmtop;
mod psf;
mod solvent;
pub(super) mod topology;

pub(super) use periodic::simulation_box;

use super::Settings;
use super::manifest::Row;
use crate::comm::World;
use crate::data::structure::Notes;
use crate::data::system::System;
use crate::data::trajectory::{Graph, Header, Item, Source};
use crate::{Error, Result};
use frames::Frames;
use periodic::{Molecules, Unwrapper};
use solvent::Residues;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The trajectories of a manifest.
pub struct Ensemble {
    rows: Vec<Row>,
    items: Vec<Item>,
    settings: Settings,
    /// Topologies are read once, however many trajectories share them.
    topologies: Mutex<HashMap<PathBuf, Arc<Topology>>>,
}

/// A topology with everything that is derived from it alone.
struct Topology {
    system: System<f64>,
    nodes: Vec<Vec<u32>>,
    molecules: Molecules,
    /// `None` when neighbors depend on distances and the file has no coordinates.
    graph: Option<Graph>,
    notes: Notes,
}

impl Topology {
    fn read(path: &Path, settings: &Settings) -> Result<Self> {
        let mut system = topology::read(path)?;
        bonds::complete(&mut system);
        let nodes = settings.selection.nodes(&system).map_err(|e| match e {
            Error::Input(text) => Error::file(path, text),
            other => other,
        })?;
        let solute = Residues::new(&system).solute();
        let chosen: Vec<u32> = nodes.concat();
        let inside = system.bonds_among(&solute);
        let molecules = Molecules::new(system.len(), &inside, &chosen);
        let mut notes = Notes::default();
        let solvent = system.len() - solute.len();
        notes.add(
            "atoms of water and free ions in topologies, which are left out",
            solvent as u64,
        );
        let mut topology = Self {
            system,
            nodes,
            molecules,
            graph: None,
            notes,
        };
        topology.graph = topology.own_graph(settings).map_err(|e| e.in_file(path))?;
        Ok(topology)
    }

    fn own_graph(&self, settings: &Settings) -> Result<Option<Graph>> {
        if !bonds::needs_centres(&self.system, &settings.selection, &self.nodes) {
            return self.graph_at(&[], settings).map(Some);
        }
        let mut positions = self.system.positions.clone();
        if positions.is_empty() {
            return Ok(None);
        }
        if let Some(cell) = &self.system.cell {
            Unwrapper::new(&self.molecules).apply(&mut positions, cell);
        }
        self.graph_at(&positions, settings).map(Some)
    }

    fn graph_at(&self, positions: &[[f64; 3]], settings: &Settings) -> Result<Graph> {
        let centres: Vec<[f64; 3]> = match positions.is_empty() {
            true => Vec::new(),
            false => bonds::centres(&self.nodes, positions).collect(),
        };
        bonds::graph(
            &self.system,
            &settings.selection,
            &self.nodes,
            &centres,
            settings.cutoff,
        )
    }
}

impl Ensemble {
    /// # Errors
    /// A stride of zero or a cutoff that is no positive number.
    pub fn new(rows: Vec<Row>, settings: Settings) -> Result<Self> {
        if settings.stride == 0 {
            return Err(Error::input("--stride 0: it must be positive"));
        }
        if !(settings.cutoff > 0.0 && settings.cutoff.is_finite()) {
            return Err(Error::input("--cutoff: it must be positive"));
        }
        Ok(Self {
            items: rows.iter().map(|r| r.item.clone()).collect(),
            rows,
            settings,
            topologies: Mutex::default(),
        })
    }

    /// What was left out of the topologies that any rank has read, each counted once. Collective.
    ///
    /// # Errors
    /// A failure of the encoding.
    pub fn notes(&self, world: &World) -> Result<Notes> {
        let known = self.topologies.lock().unwrap_or_else(|e| e.into_inner());
        let own = known.iter().map(|(path, t)| (path.as_path(), &t.notes));
        let own: BTreeMap<&Path, &Notes> = own.collect();
        let text = serde_json::to_vec(&own).map_err(Error::internal);
        let mut all: BTreeMap<PathBuf, Notes> = BTreeMap::new();
        for text in world.gather(&world.agree(text)?) {
            all.extend(serde_json::from_slice::<BTreeMap<_, _>>(&text).map_err(Error::internal)?);
        }
        Ok(Notes::sum(all.values()))
    }

    fn topology(&self, path: &Path) -> Result<Arc<Topology>> {
        let mut known = self.topologies.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(topology) = known.get(path) {
            return Ok(topology.clone());
        }
        let topology = Arc::new(Topology::read(path, &self.settings)?);
        known.insert(path.to_path_buf(), topology.clone());
        Ok(topology)
    }
}

impl Source for Ensemble {
    fn items(&self) -> &[Item] {
        &self.items
    }

    fn cost(&self, index: usize) -> u64 {
        let path = &self.rows[index].trajectory;
        std::fs::metadata(path).map_or(0, |m| m.len())
    }

    fn produce(&self, index: usize, frame: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<Header> {
        let row = &self.rows[index];
        let topology = self.topology(&row.topology)?;
        let atoms = topology.system.len();
        let mut frames = Frames::open(
            &row.trajectory,
            atoms,
            row.frames.clone(),
            self.settings.stride,
        )?;
        let mut unwrapper = Unwrapper::new(&topology.molecules);
        let mut graph = topology.graph.clone();
        let mut values = Vec::with_capacity(3 * topology.nodes.len());
        while let Some(view) = frames.advance()? {
            if let Some(cell) = &view.cell {
                unwrapper.apply(&mut view.positions, cell);
            }
            if graph.is_none() {
                let first = topology.graph_at(&view.positions, &self.settings);
                graph = Some(first.map_err(|e| e.in_file(&row.trajectory))?);
            }
            values.clear();
            let centres = bonds::centres(&topology.nodes, &view.positions);
            values.extend(centres.flatten().map(|x| x as f32));
            frame(&values)?;
        }
        Ok(Header {
            graph: graph.unwrap_or_default(),
            time_step: frames.time_step(),
        })
    }
}
