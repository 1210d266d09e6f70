//! TFN, the tensor field network (Thomas et al. 2018, arXiv:1802.08219), on bonds or other edges.
//! Sizes, order of weights and initialisation as released with Geom3D.

use super::fiber_network::{FiberNetwork, Sizes};
use super::fibers::{Convolution, Shape, head};
use super::heads::HeadConfig;
use super::{Encoder, EncoderConfig, Variant, check_degrees, check_sizes};
use crate::models::Scope;
use crate::models::layers::{CutoffShape, check_cutoff};
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sizes of TFN; the default is the released one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TfnConfig {
    /// Channels of each degree. The features at the end have as many for every degree.
    pub width: usize,
    /// Convolutions.
    pub layers: usize,
    /// The highest degree.
    pub lmax: usize,
    /// Linear layers on the lengths of features after a convolution.
    pub norm_layers: usize,
    /// Width of the radial networks.
    pub radial_width: usize,
    /// Longest edge in Å.
    pub cutoff: f64,
    /// Atomic numbers up to this one are known.
    pub elements: usize,
    /// Mended: messages go to zero at the cutoff, atoms without edges keep their features, and
    /// lengths, activations and with them energies are smooth; the energy is a sum over atoms,
    /// where in the released code it is made of the largest features.
    pub variant: Variant,
}

impl Default for TfnConfig {
    fn default() -> Self {
        Self {
            width: 32,
            layers: 7,
            lmax: 3,
            norm_layers: 1,
            radial_width: 32,
            cutoff: 5.0,
            elements: 119,
            variant: Variant::default(),
        }
    }
}

/// Most linear layers after a convolution.
const MOST_LAYERS: usize = 16;

impl TfnConfig {
    /// Scalars at the end.
    fn features(&self) -> usize {
        self.width * (self.lmax + 1)
    }
}

impl EncoderConfig for TfnConfig {
    fn check(&self) -> Result<()> {
        check_degrees(self.lmax.saturating_add(1))?;
        check_sizes(&[
            ("width", self.width),
            ("layers", self.layers),
            ("radial_width", self.radial_width),
            ("elements", self.elements),
            ("width * (lmax + 1)", self.features()),
        ])?;
        if self.norm_layers > MOST_LAYERS {
            let layers = self.norm_layers;
            let what = format!("norm_layers = {layers}: the most is {MOST_LAYERS}");
            return Err(Error::input(what));
        }
        check_cutoff(self.cutoff, CutoffShape::Polynomial(6))
    }

    fn head(&self) -> HeadConfig {
        head(self.variant)
    }

    fn build(&self, b: &mut Scope) -> Box<dyn Encoder> {
        let shape = Shape {
            lmax: self.lmax,
            radial: self.radial_width,
            variant: self.variant,
        };
        let sizes = Sizes {
            channels: self.width,
            shape,
            layers: self.layers - 1,
            norm_layers: self.norm_layers,
            features: self.features(),
            cutoff: self.cutoff,
            elements: self.elements,
        };
        let layer =
            |b: &mut Scope, from: &[usize], to: &[usize]| Convolution::new(b, shape, from, to);
        Box::new(FiberNetwork::new(&mut b.scope("block0"), sizes, layer))
    }
}
