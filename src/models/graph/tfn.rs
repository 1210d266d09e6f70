//! TFN, the tensor field network (Thomas et al. 2018, arXiv:1802.08219), on bonds or other edges.
//! Sizes, order of weights and initialisation as released with Geom3D.

use super::fibers::{Convolution, Inputs, Norm, Shape, elements, first, head};
use super::heads::HeadConfig;
use super::{Batch, Encoder, EncoderConfig, Features, Variant, check_degrees, check_sizes};
use crate::models::layers::{CutoffShape, Geometry, check_cutoff};
use crate::models::{Parameters, Scope};
use crate::{Error, Result};
use candle_core::bail;
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
        Box::new(Tfn::new(b, self))
    }
}

/// The network.
pub struct Tfn {
    config: TfnConfig,
    shape: Shape,
    layers: Vec<(Convolution, Norm)>,
    last: Convolution,
}

impl Tfn {
    fn new(b: &mut Scope, config: &TfnConfig) -> Self {
        let shape = Shape {
            lmax: config.lmax,
            radial: config.radial_width,
            variant: config.variant,
        };
        let mut b = b.scope("block0");
        let hidden = vec![config.width; config.lmax + 1];
        let mut channels = first(config.elements).to_vec();
        let mut layers = Vec::new();
        for k in 0..config.layers - 1 {
            let convolution = Convolution::new(&mut b.scope(2 * k), shape, &channels, &hidden);
            let norm = Norm::new(
                &mut b.scope(2 * k + 1),
                config.variant,
                &hidden,
                config.norm_layers,
            );
            layers.push((convolution, norm));
            channels.clone_from(&hidden);
        }
        let mut b = b.scope(2 * layers.len());
        Self {
            config: config.clone(),
            shape,
            layers,
            last: Convolution::new(&mut b, shape, &channels, &[config.features()]),
        }
    }
}

impl Encoder for Tfn {
    fn cutoff(&self) -> f64 {
        self.config.cutoff
    }

    fn elements(&self) -> usize {
        self.config.elements
    }

    fn width(&self) -> usize {
        self.config.features()
    }

    fn encode(&self, batch: &Batch, geometry: &Geometry, p: &Parameters) -> Result<Features> {
        let inputs = Inputs::new(batch, geometry, self.shape, self.config.cutoff)?;
        let mut x = elements(batch, self.config.elements)?;
        for (convolution, norm) in &self.layers {
            x = norm.forward(&convolution.forward(&x, &inputs, p)?, p)?;
        }
        Ok(invariants(self.last.forward(&x, &inputs, p)?)?)
    }
}

/// The features of a fiber of degree 0.
pub(super) fn invariants(mut fiber: super::fibers::Fiber) -> candle_core::Result<Features> {
    match fiber.pop() {
        Some(scalars) if fiber.is_empty() => Ok(Features {
            scalars,
            vectors: None,
        }),
        _ => bail!("a fiber of other degrees than 0"),
    }
}
