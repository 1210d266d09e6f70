//! A Clebsch-Gordan block: batch norm, tensor product, norm, linear map, and the skip
//! connection around them (paper section 3; order as in the published code).

use super::config::{BlockPlan, HvaeConfig, Norm, NormPlace};
use super::layer::{
    Layer, Pass, Product, add_batch_norm, add_layer_norm, add_linear, fuse, steerable,
};
use super::norm::{LayerNonlin, Signal};
use crate::models::Scope;
use crate::ops::skip::skip;
use crate::so3::irreps::Irreps;
use candle_core::{Result, Tensor};

/// A block and the irreps around it.
pub struct Block {
    layers: Vec<Layer>,
    /// Whether the skip connection is still to be made after the layers.
    skip: bool,
    pub input: Irreps,
    pub output: Irreps,
}

/// Collects layers and numbers them as the published module list does.
struct Stack<'a, 'b> {
    scope: &'a mut Scope<'b>,
    config: &'a HvaeConfig,
    layers: Vec<Layer>,
}

impl Block {
    /// A block on `input`.
    pub fn new(b: &mut Scope, config: &HvaeConfig, input: &Irreps, plan: &BlockPlan) -> Self {
        let hidden = Irreps::uniform(plan.out.lmax, plan.out.channels);
        let mut stack = Stack {
            scope: b,
            config,
            layers: Vec::new(),
        };
        let output = if config.linear_first {
            stack.linear(input, &hidden);
            if config.batch_norm {
                stack.batch_norm(&hidden);
            }
            stack.norm(&hidden);
            stack.product(plan, &hidden)
        } else {
            if config.batch_norm {
                stack.batch_norm(input);
            }
            stack.norm_at(NormPlace::First, input);
            let product = stack.product(plan, input);
            stack.norm_at(NormPlace::Between, &product);
            stack.linear(&product, &hidden);
            let reached = Irreps::uniform(plan.out.lmax.min(product.lmax()), plan.out.channels);
            stack.norm_at(NormPlace::Last, &reached);
            reached
        };
        let layers = stack.layers;
        let layers = fuse(b, layers, plan.rule, config.symmetric, config.skip);
        let fused = matches!(layers[..], [Layer::Cg { .. }]);
        Self {
            layers,
            skip: config.skip && !fused,
            input: input.clone(),
            output,
        }
    }

    pub fn forward(&self, h: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let mut out = h.clone();
        for layer in &self.layers {
            out = layer.forward(&out, pass)?;
        }
        if self.skip {
            skip(&out, &self.output, h, &self.input)
        } else {
            Ok(out)
        }
    }
}

impl Stack<'_, '_> {
    /// The place of the next layer.
    fn next(&mut self) -> Scope<'_> {
        let number = self.layers.len();
        self.scope.scope(format_args!("layers.{number}"))
    }

    fn batch_norm(&mut self, irreps: &Irreps) {
        let normalization = self.config.normalization;
        let layer = add_batch_norm(&mut self.next(), irreps, normalization);
        self.layers.push(layer);
    }

    fn product(&mut self, plan: &BlockPlan, input: &Irreps) -> Irreps {
        let product = Product::new(
            plan.rule,
            plan.channel_rule,
            self.config.symmetric,
            input,
            plan.out.lmax,
        );
        let output = product.output.clone();
        self.layers.push(Layer::Product(product));
        output
    }

    fn linear(&mut self, from: &Irreps, to: &Irreps) {
        let layer = add_linear(&mut self.next(), steerable(from), steerable(to));
        self.layers.push(layer);
    }

    fn norm_at(&mut self, place: NormPlace, irreps: &Irreps) {
        if self.config.norm_place == place {
            self.norm(irreps);
        }
    }

    fn norm(&mut self, irreps: &Irreps) {
        let (norm, normalization) = (self.config.norm, self.config.normalization);
        let b = &mut self.next();
        let layer = match norm {
            Norm::None => return,
            Norm::Signal { affine, balance } => {
                Layer::Signal(Signal::new(b, irreps, affine, balance, normalization))
            }
            Norm::Layer { affine } => add_layer_norm(b, irreps, affine, normalization),
            Norm::LayerNonlin { affine, activation } => Layer::LayerNonlin(LayerNonlin::new(
                b,
                irreps,
                affine,
                activation,
                normalization,
            )),
        };
        self.layers.push(layer);
    }
}
