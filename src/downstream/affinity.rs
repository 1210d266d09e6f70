//! Affinities of complexes, as a network that was fine-tuned on affinities predicts them.

use crate::comm::World;
use crate::data::Split;
use crate::data::dataset::Dataset;
use crate::tasks::Trained;
pub use crate::tasks::affinity::HEADER;
use crate::tasks::affinity::{AffinityKind, Pockets, Scores, complexes, csv, row};
use crate::{Error, Result};

/// A trained model, ready to predict.
pub type AffinityPredictor = Trained<AffinityKind>;

/// Predictions of some complexes of a dataset.
pub struct AffinityPredictions<'a> {
    pub dataset: &'a Dataset,
    /// Numbers of their structures.
    pub ids: &'a [u32],
    /// pK.
    pub predicted: Vec<f64>,
}

/// The complexes of a split of a dataset, or all of them.
pub fn chosen(dataset: &Dataset, split: Option<Split>) -> Vec<u32> {
    let of = |s: &u32| split.is_none_or(|split| dataset.structures()[*s as usize].split == split);
    complexes(dataset).map(|(s, _)| s).filter(of).collect()
}

impl AffinityPredictor {
    /// Affinities of the complexes `ids`, pK. Collective; the result is on rank 0.
    ///
    /// # Errors
    /// A dataset that was prepared otherwise than the model's; a coordinate that is not finite.
    pub fn predict(&self, world: &World, dataset: &Dataset, ids: &[u32]) -> Result<Vec<f64>> {
        let pockets = world.agree(Pockets::new(dataset, &self.description))?;
        let predicted = pockets.predict(world, &self.model, ids)?;
        match predicted.iter().position(|p| !p.is_finite()) {
            None => Ok(predicted),
            Some(i) => {
                let id = &dataset.structures()[ids[i] as usize].id;
                Err(Error::input(format!(
                    "complex {id}: its affinity is not finite"
                )))
            }
        }
    }
}

impl AffinityPredictions<'_> {
    /// The table: id, group, split, measured and predicted affinity.
    ///
    /// # Errors
    /// None that input can cause.
    pub fn csv(&self) -> Result<Vec<u8>> {
        let rows = self.ids.iter().zip(&self.predicted);
        csv(rows.map(|(&complex, &predicted)| row(self.dataset, complex, predicted)))
    }

    /// How good they are; `None` where the affinity of one is unknown, or there are fewer than two.
    pub fn scores(&self) -> Option<Scores> {
        let measured = self.ids.iter().map(|&c| row(self.dataset, c, 0.0).measured);
        let measured: Option<Vec<f64>> = measured.collect();
        let measured = measured.filter(|known| known.len() > 1)?;
        Some(Scores::of(&self.predicted, &measured))
    }
}
