//! A Clebsch-Gordan block: batch norm, tensor product, norm, linear map, and the skip
//! connection around them (paper section 3; order as in the published code).

use super::config::{BlockPlan, HvaeConfig, Norm, NormPlace};
use super::layer::{
    Layer, Pass, Product, add_batch_norm, add_layer_norm, add_linear, fuse, steerable,
};
use super::norm::{LayerNonlin, Signal};
use crate::models::ParametersBuilder;
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
struct Stack<'a> {
    builder: &'a mut ParametersBuilder,
    config: &'a HvaeConfig,
    name: &'a str,
    layers: Vec<Layer>,
}

impl Block {
    /// A block called `name` (e.g. `encoder_cg_blocks.0`) on `input`.
    pub fn new(
        b: &mut ParametersBuilder,
        config: &HvaeConfig,
        name: &str,
        input: &Irreps,
        plan: &BlockPlan,
    ) -> Self {
        let hidden = Irreps::uniform(plan.out.0, plan.out.1);
        let mut stack = Stack {
            builder: b,
            config,
            name,
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
            let reached = Irreps::uniform(plan.out.0.min(product.lmax()), plan.out.1);
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

impl Stack<'_> {
    fn next_name(&self) -> String {
        format!("{}.layers.{}", self.name, self.layers.len())
    }

    fn batch_norm(&mut self, irreps: &Irreps) {
        let name = self.next_name();
        let layer = add_batch_norm(self.builder, &name, irreps, self.config.normalization);
        self.layers.push(layer);
    }

    fn product(&mut self, plan: &BlockPlan, input: &Irreps) -> Irreps {
        let product = Product::new(
            plan.rule,
            plan.channel_rule,
            self.config.symmetric,
            input,
            plan.out.0,
        );
        let output = product.output.clone();
        self.layers.push(Layer::Product(product));
        output
    }

    fn linear(&mut self, from: &Irreps, to: &Irreps) {
        let name = self.next_name();
        let layer = add_linear(self.builder, &name, steerable(from), steerable(to));
        self.layers.push(layer);
    }

    fn norm_at(&mut self, place: NormPlace, irreps: &Irreps) {
        if self.config.norm_place == place {
            self.norm(irreps);
        }
    }

    fn norm(&mut self, irreps: &Irreps) {
        let (name, normalization) = (self.next_name(), self.config.normalization);
        let layer = match self.config.norm {
            Norm::None => return,
            Norm::Signal { affine, balance } => Layer::Signal(Signal::new(
                self.builder,
                &name,
                irreps,
                affine,
                balance,
                normalization,
            )),
            Norm::Layer { affine } => {
                add_layer_norm(self.builder, &name, irreps, affine, normalization)
            }
            Norm::LayerNonlin { affine, activation } => Layer::LayerNonlin(LayerNonlin::new(
                self.builder,
                &name,
                irreps,
                affine,
                activation,
                normalization,
            )),
        };
        self.layers.push(layer);
    }
}
