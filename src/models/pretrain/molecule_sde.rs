//! MoleculeSDE: bonds and positions told apart and made of each other by diffusion
//! (Liu et al. 2023).

use super::bond_net::{BondNet, BondNetConfig};
use super::bonds::put_bonds;
use super::contrast::{ebm_nce, unit_rows};
use super::score2d::BondScore;
use super::score3d::{HEADS, PositionScore};
use super::views::{check_masking, masked};
use super::{Batch, Draw, Inputs, Molecule, Objective, ObjectiveConfig, Pass, Representations};
use super::{Sde, Terms, check_positive};
use crate::models::Scope;
use crate::models::graph::Variant;
use crate::models::sizes::check_width;
use crate::{Error, Result};
use candle_core::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MoleculeSdeConfig {
    /// The network on the graph of bonds.
    pub bonds: BondNetConfig,
    /// Share of the atoms that both views lack.
    pub masking: f64,
    /// What products or cosines are divided by.
    pub temperature: f64,
    /// Features are unit vectors in the contrastive loss.
    pub normalize: bool,
    /// Noise on positions.
    pub positions: Sde,
    /// Noise on bonds and atom types.
    pub types: Sde,
    /// Channels of the network for positions; a multiple of 8.
    pub hidden: usize,
    /// Edges of the network for positions join atoms so many bonds apart at most.
    pub reach: usize,
    /// The released code lets low levels of noise on bonds dominate, and counts padding.
    pub variant: Variant,
}

impl Default for MoleculeSdeConfig {
    fn default() -> Self {
        Self {
            bonds: BondNetConfig::default(),
            masking: 0.0,
            temperature: 0.1,
            normalize: true,
            positions: Sde::default(),
            types: Sde::default(),
            hidden: 32,
            reach: 4,
            variant: Variant::default(),
        }
    }
}

impl ObjectiveConfig for MoleculeSdeConfig {
    fn check(&self) -> Result<()> {
        self.bonds.check()?;
        check_masking(self.masking)?;
        check_positive("objective.temperature", self.temperature)?;
        self.positions.check("objective.positions")?;
        self.types.check("objective.types")?;
        check_width("objective.hidden", self.hidden)?;
        check_width("objective.reach", self.reach)?;
        match self.hidden.is_multiple_of(HEADS) {
            true => Ok(()),
            false => Err(Error::input(format!(
                "objective.hidden = {}: must be a multiple of {HEADS}",
                self.hidden
            ))),
        }
    }

    fn terms(&self) -> Vec<(&'static str, f64)> {
        vec![("contrast", 1.0), ("positions", 1.0), ("bonds", 1.0)]
    }

    fn couples(&self) -> bool {
        true
    }

    /// Atoms are told from atoms of the same slice.
    fn gathers(&self) -> bool {
        false
    }

    fn bonded(&self) -> bool {
        true
    }

    fn build(&self, b: &mut Scope, width: usize, _: usize) -> Result<Box<dyn Objective>> {
        Ok(Box::new(MoleculeSde {
            bonds: BondNet::new(b, self.bonds, width),
            positions: PositionScore::new(&mut b.scope("sde_2d_3d"), width, self.hidden),
            types: BondScore::new(&mut b.scope("sde_3d_2d"), width, self.variant),
            config: self.clone(),
        }))
    }
}

/// `L = contrast + positions + bonds`.
pub struct MoleculeSde {
    config: MoleculeSdeConfig,
    bonds: BondNet,
    positions: PositionScore,
    types: BondScore,
}

impl Objective for MoleculeSde {
    fn prepare(&self, molecules: &[Molecule], draw: &Draw) -> Result<Inputs> {
        let kept = masked(molecules, self.config.masking, draw)?;
        let mut inputs = Inputs::of(&kept, draw)?;
        put_bonds(&mut inputs, &kept, draw)?;
        self.put_positions(&mut inputs, &kept, draw)?;
        self.put_types(&mut inputs, &kept, draw)?;
        for name in ["permutation_1", "permutation_2"] {
            let order = draw.order(name, &kept);
            let atoms = order.len();
            inputs.draws.put(name, draw.rows(order, atoms)?);
        }
        Ok(inputs)
    }

    fn losses(&self, x: &Representations, batch: &Batch, pass: &Pass) -> Result<Terms> {
        let draws = &batch.draws;
        let (bonds, positions) = (self.bonds.atoms(draws, pass)?, &x.atoms[0]);
        let orders = [draws.get("permutation_1")?, draws.get("permutation_2")?];
        let (from_bonds, from_positions) = match self.config.normalize {
            true => (unit_rows(&bonds)?, unit_rows(positions)?),
            false => (bonds.clone(), positions.clone()),
        };
        let contrasted = [&from_bonds, &from_positions];
        let contrast = contrast(contrasted, orders, self.config.temperature)?;
        let made = self.positions.loss(&bonds, draws, pass)?;
        let [types, pairs] = self.types.losses(positions, draws, pass)?;
        Ok(vec![
            ("contrast", contrast),
            ("positions", made),
            ("bonds", ((types + pairs)? * 0.5)?),
        ])
    }
}

impl MoleculeSde {
    fn put_positions(
        &self,
        inputs: &mut Inputs,
        molecules: &[Molecule],
        draw: &Draw,
    ) -> Result<()> {
        let steps = Sde::steps("time of positions", molecules, draw);
        let noise = draw.normals("noise of positions", molecules, |m| 3 * m.system.len());
        let mut normal = noise.iter();
        let (mut perturbed, mut shares) = (Vec::with_capacity(noise.len()), Vec::new());
        for (m, &step) in molecules.iter().zip(&steps) {
            let [factor, sigma] = self.config.positions.at(step);
            let (at, count) = (&m.system.positions, m.system.len() as f64);
            let centre: [f64; 3] =
                std::array::from_fn(|k| at.iter().map(|r| r[k]).sum::<f64>() / count);
            for r in at {
                for ((x, middle), epsilon) in r.iter().zip(centre).zip(&mut normal) {
                    perturbed.push(factor * (x - middle) + sigma * epsilon);
                }
            }
            let share = 1.0 / (count * molecules.len() as f64);
            shares.extend(std::iter::repeat_n(share, m.system.len()));
        }
        let atoms = shares.len();
        let perturbed = Tensor::from_vec(perturbed, (atoms, 3), &draw.device)?;
        let [from, to] = near(molecules, self.config.reach);
        let edges = from.len();
        let draws = &mut inputs.draws;
        draws.put("perturbed", perturbed);
        draws.put("epsilon", draw.floats(noise, (atoms, 3))?);
        draws.put("share", draw.floats(shares, atoms)?);
        draws.put("edges", draw.rows([from, to].concat(), (2, edges))?);
        Ok(())
    }

    fn put_types(&self, inputs: &mut Inputs, molecules: &[Molecule], draw: &Draw) -> Result<()> {
        const CLASSES: usize = 119;
        let count = molecules.len();
        let longest = molecules.iter().map(|m| m.system.len()).max().unwrap_or(0);
        let steps = Sde::steps("time of types", molecules, draw);
        let levels = steps.iter().map(|&step| self.config.types.at(step));
        let (means, sigmas): (Vec<f64>, Vec<f64>) = levels.map(|[m, s]| (m, s)).unzip();
        let mut adjacency = vec![0.0; count * longest * longest];
        let (mut of_pairs, mut of_types) =
            (adjacency.clone(), vec![0.0; count * longest * CLASSES]);
        let mut classes = Vec::new();
        for (b, m) in molecules.iter().enumerate() {
            let n = m.system.len();
            let entry = |i: usize, j: usize| (b * longest + i) * longest + j;
            for (&[i, j], &order) in m.system.bonds.iter().zip(&m.system.orders) {
                let (i, j) = (i as usize, j as usize);
                adjacency[entry(i, j)] = f64::from(order);
                adjacency[entry(j, i)] = f64::from(order);
            }
            let one = std::slice::from_ref(m);
            let mut normal = draw.normals("noise of bonds", one, |_| n * n).into_iter();
            for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
                of_pairs[entry(i, j)] = normal.next().unwrap_or(0.0);
            }
            let normal = draw.normals("noise of types", one, |_| n * CLASSES);
            of_types[b * longest * CLASSES..][..normal.len()].copy_from_slice(&normal);
            classes.extend(m.system.numbers.iter().map(|&z| u32::from(z) - 1));
        }
        let atoms = classes.len();
        let draws = &mut inputs.draws;
        draws.put("bond_mean", draw.floats(means, count)?);
        draws.put("bond_sigma", draw.floats(sigmas, count)?);
        draws.put(
            "adjacency",
            draw.floats(adjacency, (count, longest, longest))?,
        );
        draws.put(
            "adj_noise",
            draw.floats(of_pairs, (count, longest, longest))?,
        );
        draws.put("x_noise", draw.floats(of_types, (count, longest, CLASSES))?);
        draws.put("classes", draw.rows(classes, atoms)?);
        Ok(())
    }
}

/// EBM-NCE of atoms' features by bonds and by positions, `[N, F]` each, in both directions; the
/// negative of an atom is another atom of the slice, in a random order of all.
///
/// # Errors
/// Different shapes.
pub fn contrast([x, y]: [&Tensor; 2], orders: [&Tensor; 2], temperature: f64) -> Result<Tensor> {
    let one = |x: &Tensor, y: &Tensor, order: &Tensor| -> Result<Tensor> {
        let negatives = [y.index_select(order, 0)?];
        let (positive, negative) = ebm_nce(x, y, &negatives, temperature)?;
        Ok(match negative {
            Some(negative) => (positive + negative)?,
            None => positive,
        })
    };
    Ok(((one(x, y, orders[0])? + one(y, x, orders[1])?)? * 0.5)?)
}

/// Ordered pairs of atoms that are at most `reach` bonds apart.
fn near(molecules: &[Molecule], reach: usize) -> [Vec<u32>; 2] {
    let (mut from, mut to) = (Vec::new(), Vec::new());
    let mut first = 0u32;
    for m in molecules {
        let n = m.system.len();
        let mut bonded = vec![Vec::new(); n];
        for &[i, j] in &m.system.bonds {
            bonded[i as usize].push(j);
            bonded[j as usize].push(i);
        }
        for start in 0..n as u32 {
            let mut seen = vec![false; n];
            seen[start as usize] = true;
            let mut ring = vec![start];
            for _ in 0..reach {
                let next = ring.iter().flat_map(|&i| &bonded[i as usize]).copied();
                let next: Vec<u32> = next
                    .filter(|&j| !std::mem::replace(&mut seen[j as usize], true))
                    .collect();
                ring = next;
                from.extend(ring.iter().map(|j| first + j));
                to.extend(ring.iter().map(|_| first + start));
            }
        }
        first += n as u32;
    }
    [from, to]
}
