//! Classes or labels of protein chains, as a trained network of residues tells them.

use crate::comm::World;
use crate::data::chains::Chains;
use crate::store::{self, Kind, Storage::Compressed};
use crate::tasks::Trained;
use crate::tasks::chains::{ChainsKind, Scores, ranking, score};
use crate::{Error, Result};
use std::path::Path;

/// A trained model, ready to predict.
pub type ChainPredictor = Trained<ChainsKind>;

/// Predictions of some of a dataset's chains.
pub struct ChainPredictions<'a> {
    pub chains: &'a Chains,
    pub ids: &'a [u32],
    /// `[chains * classes]`.
    pub probabilities: Vec<f64>,
}

impl ChainPredictor {
    /// Probabilities of the chains `ids`, `[chains * classes]`. Collective; the result is on rank 0.
    ///
    /// # Errors
    /// A chain that the network can make nothing of.
    pub fn predict(&self, world: &World, chains: &Chains, ids: &[u32]) -> Result<Vec<f64>> {
        self.description.predict(world, &self.model, chains, ids)
    }

    /// How good predictions are; `None` where a chain's class is unknown, or unknown to the model.
    pub fn scores(&self, made: &ChainPredictions) -> Option<Scores> {
        score(
            &self.description,
            made.chains,
            made.ids,
            &made.probabilities,
        )
    }

    /// Writes predictions as HDF5: `id` and `part` of each chain, `probabilities` f64 `[chains,
    /// classes]`, `classes`, and `predicted`, the most probable class; `label` u8 `[chains, classes]`
    /// tells which the chains have, as far as the model knows them.
    ///
    /// # Errors
    /// An unwritable folder, a full disk.
    pub fn write(&self, made: &ChainPredictions, out: &Path) -> Result<()> {
        let classes = &self.description.classes;
        let shape = [made.ids.len(), classes.len()];
        let rows = made.probabilities.chunks_exact(classes.len());
        let best = |row: &[f64]| {
            let place = ranking(row).first().copied();
            place.map_or(String::new(), |place| classes[place].clone())
        };
        let best: Vec<String> = rows.map(best).collect();
        let mut labels = vec![0u8; made.probabilities.len()];
        let places = self.description.places(made.chains, made.ids);
        for (row, places) in labels.chunks_exact_mut(classes.len()).zip(places) {
            let places = places.unwrap_or_default();
            places.into_iter().for_each(|place| row[place as usize] = 1);
        }
        let ids = || made.ids.iter().map(|&i| i as usize);
        store::write(out, Kind::PredictedChains, |root| {
            root.set_attr_text("checkpoint_hash", &self.hash)?;
            root.set_attr_text("dataset", made.chains.fingerprint())?;
            let names = ids().map(|i| made.chains.id(i)).collect::<Vec<_>>();
            root.write_strings("id", &names)?;
            let parts = ids().map(|i| made.chains.part(i)).collect::<Vec<_>>();
            root.write_strings("part", &parts)?;
            root.write_strings("classes", classes)?;
            root.write_strings("predicted", &best)?;
            root.write("probabilities", &shape, &made.probabilities, Compressed)?;
            root.write("label", &shape, &labels, Compressed)
        })?;
        Ok(())
    }

    /// Predictions as CSV: id, part, the five most probable classes and their probabilities.
    ///
    /// # Errors
    /// A value that CSV cannot hold.
    pub fn csv(&self, made: &ChainPredictions) -> Result<Vec<u8>> {
        let classes = &self.description.classes;
        let mut table = csv::Writer::from_writer(Vec::new());
        let rows = made.probabilities.chunks_exact(classes.len());
        table
            .write_record(HEADER.split(','))
            .map_err(Error::internal)?;
        for (&i, row) in made.ids.iter().zip(rows) {
            let (id, part) = (made.chains.id(i as usize), made.chains.part(i as usize));
            for (rank, place) in ranking(row).into_iter().take(5).enumerate() {
                let (rank, probability) = ((rank + 1).to_string(), format!("{:.6}", row[place]));
                let record = [id, part, &rank, &classes[place], &probability];
                table.write_record(record).map_err(Error::internal)?;
            }
        }
        table.into_inner().map_err(|e| Error::internal(e.error()))
    }
}

/// Columns of [`ChainPredictor::csv`].
pub const HEADER: &str = "id,part,rank,class,probability";
