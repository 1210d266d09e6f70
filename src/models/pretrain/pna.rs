//! PNA on the graph of bonds (Corso et al. 2020), the 2D network of 3D InfoMax: messages of both
//! ends and the bond, their mean, largest, smallest and deviation, each as it is, amplified and
//! attenuated by the atom's number of bonds.

use super::bonds::{ATOM_FEATURES, BOND_FEATURES};
use super::gin::Features;
use super::{Draws, Pass};
use crate::Result;
use crate::models::Scope;
use crate::models::layers::{BatchNorm, Linear};
use candle_core::Tensor;

struct Layer {
    message: Linear,
    update: Linear,
    norm: BatchNorm,
}

/// Layers with residuals; features of atoms and bonds are embedded as in [`super::gin`].
pub struct Pna {
    atoms: Features,
    bonds: Features,
    layers: Vec<Layer>,
}

/// Four aggregators, three scalers each.
const PARTS: usize = 12;

/// Added to a variance before its root.
const EPSILON: f64 = 1e-5;

impl Pna {
    /// `layers` layers of `width` channels.
    pub fn new(b: &mut Scope, width: usize, layers: usize) -> Self {
        let layer = |l: usize| {
            let mut b = b.scope(format_args!("layers.{l}"));
            Layer {
                message: Linear::pytorch(&mut b.scope("pretrans"), 3 * width, width),
                update: Linear::pytorch(&mut b.scope("posttrans"), (PARTS + 1) * width, width),
                norm: BatchNorm::new(&mut b.scope("batch_norm"), width),
            }
        };
        let layers = (0..layers).map(layer).collect();
        Self {
            atoms: Features::new(&mut b.scope("atom_encoder"), &ATOM_FEATURES, width),
            bonds: Features::new(&mut b.scope("bond_encoder"), &BOND_FEATURES, width),
            layers,
        }
    }

    /// Features of the atoms, `[N, F]`, of what [`super::bonds::put_bonds`] has put.
    ///
    /// # Errors
    /// Features that there are not.
    pub fn forward(&self, draws: &Draws, pass: &Pass) -> Result<Tensor> {
        let ends = draws.get("bond_ends")?;
        let (from, to) = (ends.get(0)?, ends.get(1)?);
        let mut h = self
            .atoms
            .forward(draws.get("atom_features")?, pass.parameters)?;
        let degrees = Degrees::new(&to, &h)?;
        let bonds = match from.elem_count() {
            0 => None,
            _ => Some(
                self.bonds
                    .forward(draws.get("bond_features")?, pass.parameters)?,
            ),
        };
        for layer in &self.layers {
            let mut parts = vec![h.clone()];
            let aggregated = match &bonds {
                Some(bonds) => {
                    let ends = [&from, &to].map(|rows| h.index_select(rows, 0));
                    let [sender, receiver] = ends;
                    let messages = Tensor::cat(&[&sender?, &receiver?, bonds], 1)?;
                    let messages = layer.message.forward(&messages, pass.parameters)?.relu()?;
                    aggregate(&messages, &to, &degrees)?
                }
                None => {
                    let zeros = h.zeros_like()?;
                    [zeros.clone(), zeros.clone(), zeros.clone(), zeros]
                }
            };
            for part in aggregated {
                parts.push(part.broadcast_mul(&degrees.amplified)?);
                parts.push(part.broadcast_mul(&degrees.attenuated)?);
                parts.push(part);
            }
            let x = layer
                .update
                .forward(&Tensor::cat(&parts, 1)?, pass.parameters)?;
            h = (h + layer.norm.forward(&x, pass)?.relu()?)?;
        }
        Ok(h)
    }
}

/// What follows from the atoms' numbers of bonds; columns `[N, 1]`.
struct Degrees {
    share: Tensor,
    amplified: Tensor,
    attenuated: Tensor,
    /// Bonds of each atom.
    of: Vec<Vec<u32>>,
}

impl Degrees {
    fn new(to: &Tensor, h: &Tensor) -> Result<Self> {
        let mut of = vec![Vec::new(); h.dim(0)?];
        for (bond, atom) in (0u32..).zip(to.to_vec1::<u32>()?) {
            of[atom as usize].push(bond);
        }
        let column = |f: &dyn Fn(f64) -> f64| -> Result<Tensor> {
            let values: Vec<f64> = of.iter().map(|bonds| f(bonds.len() as f64)).collect();
            let column = Tensor::from_vec(values, (of.len(), 1), h.device())?;
            Ok(column.to_dtype(h.dtype())?)
        };
        Ok(Self {
            share: column(&|d| 1.0 / d.max(1.0))?,
            amplified: column(&|d| (d + 1.0).ln())?,
            attenuated: column(&|d| 1.0 / (d.max(1.0) + 1.0).ln())?,
            of,
        })
    }
}

/// Mean, largest, smallest and deviation of each atom's messages; zero for an atom without bonds.
fn aggregate(messages: &Tensor, to: &Tensor, degrees: &Degrees) -> Result<[Tensor; 4]> {
    let (atoms, width) = (degrees.of.len(), messages.dim(1)?);
    let zeros = Tensor::zeros((atoms, width), messages.dtype(), messages.device())?;
    let mean = |x: &Tensor| -> Result<Tensor> {
        Ok(zeros.index_add(to, x, 0)?.broadcast_mul(&degrees.share)?)
    };
    let average = mean(messages)?;
    let centred = (messages - average.index_select(to, 0)?)?;
    let deviation = (mean(&centred.sqr()?)? + EPSILON)?.sqrt()?;
    // Which message is chosen is a constant; a row of zeros is behind the messages.
    let padded = Tensor::cat(&[messages, &zeros.narrow(0, 0, 1)?], 0)?;
    let values = messages
        .detach()
        .to_dtype(candle_core::DType::F64)?
        .to_vec2::<f64>()?;
    let chosen = |sign: f64| -> Result<Tensor> {
        let mut rows = Vec::with_capacity(atoms * width);
        for bonds in &degrees.of {
            for k in 0..width {
                let best = bonds.iter().copied().reduce(|a, b| {
                    let better = sign * values[b as usize][k] > sign * values[a as usize][k];
                    if better { b } else { a }
                });
                rows.push(best.unwrap_or(values.len() as u32));
            }
        }
        let rows = Tensor::from_vec(rows, (atoms, width), messages.device())?;
        Ok(padded.gather(&rows, 0)?)
    };
    Ok([average, chosen(1.0)?, chosen(-1.0)?, deviation])
}
