//! Atom types that are masked and predicted (Hu et al. 2020).

use super::{Batch, Draw, Inputs, Molecule, Objective, ObjectiveConfig, Pass, Representations};
use super::{Terms, check_share};
use crate::models::Scope;
use crate::models::graph::Variant;
use crate::models::layers::Linear;
use crate::{Error, Result};
use candle_nn::loss::cross_entropy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AtomTypeConfig {
    /// Share of a slice's atoms that is masked.
    pub masking: f64,
    /// The mask is the network's last element. In the released code it is one of the classes too.
    pub variant: Variant,
}

impl Default for AtomTypeConfig {
    fn default() -> Self {
        Self {
            masking: 0.3,
            variant: Variant::default(),
        }
    }
}

impl ObjectiveConfig for AtomTypeConfig {
    fn check(&self) -> Result<()> {
        check_share("objective.masking", self.masking)
    }

    fn terms(&self) -> Vec<(&'static str, f64)> {
        vec![("atom_type", 1.0)]
    }

    fn masks(&self) -> bool {
        true
    }

    fn build(&self, b: &mut Scope, width: usize, elements: usize) -> Result<Box<dyn Objective>> {
        let mask = u8::try_from(elements).map_err(|_| {
            Error::input(format!(
                "elements = {elements}: 255 at most with masked types"
            ))
        })?;
        let classes = match self.variant {
            Variant::Published => elements,
            Variant::Mended => elements - 1,
        };
        Ok(Box::new(AtomType {
            masking: self.masking,
            mask,
            predictor: Linear::pytorch(&mut b.scope("predictor"), width, classes.max(1)),
        }))
    }
}

/// A linear classifier on the features of masked atoms.
pub struct AtomType {
    masking: f64,
    /// Atomic number that stands for a masked atom.
    mask: u8,
    predictor: Linear,
}

impl Objective for AtomType {
    /// `int(masking N)` of all atoms of the slice, one at least.
    fn prepare(&self, molecules: &[Molecule], draw: &Draw) -> Result<Inputs> {
        let mut inputs = Inputs::of(molecules, draw)?;
        let numbers = molecules.iter().flat_map(|m| &m.system.numbers);
        let numbers: Vec<u8> = numbers.copied().collect();
        if let Some(m) = molecules
            .iter()
            .find(|m| m.system.numbers.iter().any(|&z| z >= self.mask))
        {
            return Err(Error::input(format!(
                "{}: an element of number {} or higher, which stands for masked atoms: \
                 model.elements must be above all atomic numbers",
                m.name, self.mask
            )));
        }
        let order = draw.order("masked atoms", molecules);
        let count = ((self.masking * order.len() as f64) as usize).max(1);
        let mut masked = order[..count].to_vec();
        masked.sort_unstable();
        let types = masked.iter().map(|&i| u32::from(numbers[i as usize]) - 1);
        let types: Vec<u32> = types.collect();
        let mut first = 0;
        for system in &mut inputs.views[0] {
            let atoms = first..first + system.len();
            first = atoms.end;
            for &i in masked.iter().filter(|&&i| atoms.contains(&(i as usize))) {
                system.numbers[i as usize - atoms.start] = self.mask;
            }
        }
        inputs.draws.put("target", draw.rows(types, count)?);
        inputs.draws.put("masked", draw.rows(masked, count)?);
        Ok(inputs)
    }

    fn losses(&self, x: &Representations, batch: &Batch, pass: &Pass) -> Result<Terms> {
        let masked = x.atoms[0].index_select(batch.draws.get("masked")?, 0)?;
        let logits = self.predictor.forward(&masked, pass.parameters)?;
        let loss = cross_entropy(&logits, batch.draws.get("target")?)?;
        Ok(vec![("atom_type", loss)])
    }
}
