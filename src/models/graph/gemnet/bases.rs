//! Functions of distances and angles.

use super::{GemNetConfig, layer};
use crate::Result;
use crate::models::graph::Batch;
use crate::models::layers::{
    AngularPolynomials, Cutoff, CutoffShape, Geometry, Linear, SineBasis, SphericalBessel,
};
use crate::models::{Init, Parameter, Parameters, Scope};
use crate::ops::dense::dense;
use crate::ops::dual::Dual;
use crate::ops::segment::{Incidence, Row, edge, pair, receiver, sender};
use candle_core::Tensor;
use std::sync::Arc;

/// Functions of distances and angles, and the layers on them that all blocks share.
pub(super) struct Bases {
    radial: SineBasis,
    spherical: Arc<SphericalBessel>,
    zonal: Arc<AngularPolynomials>,
    envelope: Arc<Cutoff>,
    /// Radial functions for triplets, atoms and outputs.
    on_radial: [Linear; 3],
    /// `[L, K, C]`.
    circular: Parameter,
}

/// What the bases are on a batch.
pub(super) struct Inputs {
    pub fans: Arc<Incidence>,
    pub reversed: Arc<Incidence>,
    /// `[P, K]`.
    pub radial: Dual,
    /// For triplets, atoms and outputs: `[P, R]` each.
    pub on_radial: [Dual; 3],
    /// `[E, C, L]`.
    pub circular: Dual,
    /// `[T, L]`.
    pub zonal: Dual,
}

impl Bases {
    pub fn new(b: &mut Scope, config: &GemNetConfig) -> Self {
        let (degrees, radial, cutoff) = (config.degrees, config.radial, config.cutoff);
        let envelope = Cutoff {
            shape: CutoffShape::Polynomial(5),
            radius: cutoff,
        };
        // sqrt(2 / c) / d = sqrt(2 / c) / c / x.
        let norm = (2.0 / cutoff).sqrt() / cutoff;
        let sines = &mut b.scope("rbf_basis");
        let radial_functions = SineBasis::new(sines, "frequencies", radial, envelope, norm);
        let circular = (degrees, radial, config.circular_basis);
        let init = Init::he_orthogonal(degrees * radial, config.circular_basis);
        let on_radial = ["mlp_rbf3", "mlp_rbf_h", "mlp_rbf_out"]
            .map(|name| layer(b, name, radial, config.radial_basis));
        Self {
            radial: radial_functions,
            spherical: Arc::new(SphericalBessel::new(cutoff, degrees, radial)),
            zonal: Arc::new(AngularPolynomials::zonal(degrees)),
            envelope: Arc::new(envelope),
            on_radial,
            circular: b.scope("mlp_cbf3").parameter("weight", circular, init),
        }
    }

    pub fn on(&self, batch: &Batch, geometry: &Geometry, p: &Parameters) -> Result<Inputs> {
        let fans = batch.fans()?;
        let pairs = geometry.pairs()?;
        let radial = self.radial.forward(&pairs, p)?;
        let [triplets, atoms, outputs] = &self.on_radial;
        let directions = geometry.directions()?;
        let factors = [
            (receiver(Row::Vector), &directions),
            (sender(Row::Vector), &directions),
        ];
        let cosines = Dual::contract(&fans, factors, edge(Row::Number))?;
        Ok(Inputs {
            on_radial: [
                triplets.dual(&radial, p)?,
                atoms.dual(&radial, p)?,
                outputs.dual(&radial, p)?,
            ],
            radial,
            circular: self.circular(geometry, &pairs, p)?,
            zonal: cosines.apply(&self.zonal)?,
            reversed: batch.reversed()?,
            fans,
        })
    }

    /// `[E, C, L]`: for each degree a layer on the spherical Bessel functions of that degree.
    fn circular(
        &self,
        geometry: &Geometry,
        pairs: &Geometry,
        p: &Parameters,
    ) -> candle_core::Result<Dual> {
        let norm = self.envelope.radius.powf(-1.5);
        let envelope = pairs.radial(&self.envelope)?.linear(|x| x * norm)?;
        let factors = [
            (edge(Row::Channels), &pairs.radial(&self.spherical)?),
            (edge(Row::Number), &envelope),
        ];
        let functions = Dual::contract(&pairs.edges, factors, edge(Row::Channels))?;
        let weight = p.get(&self.circular)?;
        let (degrees, radial, width) = weight.dims3()?;
        let same = Tensor::eye(degrees, weight.dtype(), weight.device())?;
        // `[C, L, L, K]`: zero where the degrees differ.
        let spread = weight
            .permute((2, 0, 1))?
            .unsqueeze(2)?
            .broadcast_mul(&same.reshape((1, degrees, degrees, 1))?)?
            .reshape((width * degrees, degrees * radial))?;
        let on_pairs =
            functions.linear(|x| dense(x, &spread)?.reshape((x.dim(0)?, width, degrees)))?;
        let factors = [(pair(Row::Vectors), &on_pairs)];
        Dual::contract(&geometry.edges, factors, edge(Row::Vectors))
    }
}
