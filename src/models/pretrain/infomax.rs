//! 3D InfoMax: the graph of bonds learns what positions tell (Stärk et al. 2022).

use super::bond_net::{BondNet, BondNetConfig};
use super::bonds::put_bonds;
use super::contrast::nt_xent;
use super::{Batch, Draw, Inputs, Molecule, Objective, ObjectiveConfig, Pass, Representations};
use super::{Terms, check_positive};
use crate::Result;
use crate::models::Scope;
use crate::models::graph::Variant;
use crate::models::layers::{Linear, Readout};
use crate::models::sizes::check_width;
use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InfoMaxConfig {
    /// The network on the graph of bonds.
    pub bonds: BondNetConfig,
    /// What products or cosines are divided by.
    pub temperature: f64,
    /// Channels that both representations are projected to; none are where this is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projection: Option<usize>,
    /// In the released code the pair of a molecule is not among those that it is told from.
    pub variant: Variant,
}

impl Default for InfoMaxConfig {
    fn default() -> Self {
        Self {
            bonds: BondNetConfig::default(),
            temperature: 0.1,
            projection: None,
            variant: Variant::default(),
        }
    }
}

impl ObjectiveConfig for InfoMaxConfig {
    fn check(&self) -> Result<()> {
        self.bonds.check()?;
        check_positive("objective.temperature", self.temperature)?;
        check_width("objective.projection", self.projection.unwrap_or(1))
    }

    fn terms(&self) -> Vec<(&'static str, f64)> {
        vec![("contrast", 1.0)]
    }

    fn couples(&self) -> bool {
        true
    }

    fn bonded(&self) -> bool {
        true
    }

    fn build(&self, b: &mut Scope, width: usize, _: usize) -> Result<Box<dyn Objective>> {
        let bonds = BondNet::new(b, self.bonds, width);
        let mut project = |name: &str, to| Linear::pytorch(&mut b.scope(name), width, to);
        let projections = self
            .projection
            .map(|to| ["project_2d", "project_3d"].map(|n| project(n, to)));
        Ok(Box::new(InfoMax {
            bonds,
            projections,
            config: self.clone(),
        }))
    }
}

/// [`nt_xent`] of bonds (rows) against positions.
pub struct InfoMax {
    config: InfoMaxConfig,
    bonds: BondNet,
    projections: Option<[Linear; 2]>,
}

impl Objective for InfoMax {
    fn prepare(&self, molecules: &[Molecule], draw: &Draw) -> Result<Inputs> {
        let mut inputs = Inputs::of(molecules, draw)?;
        put_bonds(&mut inputs, molecules, draw)?;
        Ok(inputs)
    }

    fn losses(&self, x: &Representations, batch: &Batch, pass: &Pass) -> Result<Terms> {
        let bonds = self.bonds.atoms(&batch.draws, pass)?;
        let bonds = Readout::Mean
            .forward(&bonds.into(), &batch.views[0].graphs)?
            .value;
        self.terms([&bonds, &x.graphs[0]], pass)
    }
}

impl InfoMax {
    /// The loss of the molecules' representations by bonds and by positions, `[B, F]` each.
    ///
    /// # Errors
    /// Different shapes.
    pub fn terms(&self, [x, y]: [&Tensor; 2], pass: &Pass) -> Result<Terms> {
        let (x, y) = match &self.projections {
            Some([first, second]) => (
                first.forward(x, pass.parameters)?,
                second.forward(y, pass.parameters)?,
            ),
            None => (x.clone(), y.clone()),
        };
        let (x, y) = (pass.whole(&x)?, pass.whole(&y)?);
        let loss = match (x.dim(0)?, self.config.variant) {
            // One molecule has nothing to be told from.
            (1, Variant::Published) => pass.nothing()?,
            (_, variant) => nt_xent(&x, &y, self.config.temperature, variant == Variant::Mended)?,
        };
        Ok(vec![("contrast", loss)])
    }
}
