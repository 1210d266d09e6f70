//! Gradients of parameters, flat: a weight's gradient goes to its place in the flat order as soon
//! as the backward pass has made it, and its memory is free again.
//!
//! Every variable of a model ([`Parameters::get`]) is the result of an op without input, the
//! *leaf*. So the backward pass, which ends at variables, hands the gradient to the leaf, and the
//! leaf to the [`Sink`] of the pass that is under way on this thread. No weight is copied for it.

use super::Parameters;
use super::flat::{Flat, Piece};
use crate::{Error, Result};
use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Shape, Tensor, TensorId, Var};
use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

/// Takes the gradients of one backward pass; those of the last layers come first.
pub trait Sink {
    /// The gradient of the parameters `place` of the flat order, in any shape; none for those that
    /// may lack one ([`Missing`]).
    ///
    /// # Errors
    /// A failure of the device.
    fn take(&mut self, place: Range<usize>, gradient: Option<&Tensor>) -> Result<()>;
}

/// What becomes of a parameter that an objective does not depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// An error that names it, unless the model declares it unused.
    Refused,
    /// Its gradient is zero: a term of the objective has weight zero, so candle leaves it out.
    Zero,
}

/// A backward pass that is under way.
struct Pass {
    /// Of the model whose gradients are wanted.
    origin: TensorId,
    /// Where each of its variables lies in the flat order, until its gradient has come.
    places: Vec<Option<Range<usize>>>,
    sink: Rc<RefCell<dyn Sink>>,
}

thread_local! {
    /// The innermost pass of this thread: a thread that waits within one for others may meanwhile
    /// begin and end another one.
    static PASS: RefCell<Option<Pass>> = const { RefCell::new(None) };
}

/// A pass that begins, and the one that it interrupts.
struct Begun(Option<Pass>);

impl Begun {
    fn new(pass: Pass) -> Self {
        Self(PASS.replace(Some(pass)))
    }

    /// The places whose gradients have not come.
    fn end(self) -> Vec<Option<Range<usize>>> {
        let pass = PASS.take();
        pass.map(|p| p.places).unwrap_or_default()
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        PASS.set(self.0.take());
    }
}

/// Makes a variable, all zero. It has the shape in which it is used: a view of it would be one more
/// step of the backward pass, with a copy of the gradient of its own.
struct Leaf {
    /// The variable's number in its model.
    number: usize,
    shape: Shape,
}

/// The variable `number` of a model, zero. All variables of a model have one `origin`, whose type
/// and device are theirs.
pub(super) fn leaf(origin: &Var, number: usize, shape: &Shape) -> candle_core::Result<Tensor> {
    let shape = shape.clone();
    origin.apply_op1(Leaf { number, shape })
}

impl Leaf {
    fn zeros<S>(&self, origin: &S) -> candle_core::Result<(S, Shape)>
    where
        S: BackendStorage<Device: BackendDevice<Storage = S>>,
    {
        let zeros = origin.device().zeros_impl(&self.shape, origin.dtype())?;
        Ok((zeros, self.shape.clone()))
    }
}

impl CustomOp1 for Leaf {
    fn name(&self) -> &'static str {
        "leaf"
    }

    fn cpu_fwd(&self, origin: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        self.zeros(origin)
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        origin: &candle_core::CudaStorage,
        _: &Layout,
    ) -> candle_core::Result<(candle_core::CudaStorage, Shape)> {
        self.zeros(origin)
    }

    fn bwd(
        &self,
        origin: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        let wanted = PASS.with_borrow_mut(|pass| {
            let pass = pass.as_mut().filter(|pass| pass.origin == origin.id())?;
            Some((pass.places[self.number].take(), pass.sink.clone()))
        });
        match wanted {
            // Nobody asked for the gradients of this model.
            None => Ok(None),
            Some((None, _)) => candle_core::bail!("variable {} has two gradients", self.number),
            Some((Some(place), sink)) => {
                let taken = sink.borrow_mut().take(place, Some(gradient));
                taken.map_err(candle_core::Error::wrap)?;
                Ok(None)
            }
        }
    }
}

impl Parameters {
    /// Runs the backward pass from a scalar and hands the gradient of every parameter to `sink`.
    ///
    /// # Errors
    /// A parameter that the scalar does not depend on, where `missing` and the model do not allow
    /// it; a failure of an op or of the sink.
    pub fn backward<S: Sink + 'static>(
        &self,
        objective: &Tensor,
        missing: Missing,
        sink: S,
    ) -> Result<S> {
        let allowed = missing == Missing::Zero;
        let sink = Rc::new(RefCell::new(sink));
        let begun = Begun::new(Pass {
            origin: self.origin()?,
            places: self.places().map(Some).collect(),
            sink: sink.clone(),
        });
        objective.backward()?;
        let missing = begun.end();
        let Ok(sink) = Rc::try_unwrap(sink) else {
            return Err(Error::internal("a backward pass goes on after its end"));
        };
        let mut sink = sink.into_inner();
        for (number, place) in missing.into_iter().enumerate() {
            let Some(place) = place else { continue };
            if !allowed && !self.is_unused(number) {
                return Err(Error::internal(format!(
                    "the objective does not depend on {}: a parameter without a gradient is \
                     left out, or declared unused where the model is built",
                    self.names(number)
                )));
            }
            sink.take(place, None)?;
        }
        Ok(sink)
    }

    /// The gradient of a scalar in flat order.
    ///
    /// # Errors
    /// As [`Parameters::backward`].
    pub fn gradient(&self, objective: &Tensor) -> Result<Flat> {
        let whole = Piece::new(0..self.len(), 1.0, self.device())?;
        Ok(self
            .backward(objective, Missing::Refused, whole)?
            .finish()?
            .0)
    }

    /// [`Parameters::gradient`] with all bits of a model in double precision, for comparisons with
    /// finite differences.
    ///
    /// # Errors
    /// As [`Parameters::backward`].
    pub fn exact_gradient(&self, objective: &Tensor) -> Result<Vec<f64>> {
        let zeros = Exact(vec![0.0; self.len()]);
        Ok(self.backward(objective, Missing::Refused, zeros)?.0)
    }
}

/// A gradient in double precision.
struct Exact(Vec<f64>);

impl Sink for Exact {
    fn take(&mut self, place: Range<usize>, gradient: Option<&Tensor>) -> Result<()> {
        if let Some(gradient) = gradient {
            let values = gradient.to_dtype(DType::F64)?.flatten_all()?;
            self.0[place].copy_from_slice(&values.to_vec1()?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Entry, Init, ParametersBuilder};
    use candle_core::Device;

    /// Three groups, of which the last two lie in the flat order as they follow in the network.
    fn model(unused: Option<usize>) -> Parameters {
        let mut b = ParametersBuilder::default();
        for (number, name) in ["first", "second", "third"].into_iter().enumerate() {
            let mut layer = b.root();
            let mut layer = layer.scope(name);
            let entry = |part: &str| Entry::new(part, vec![2], Init::Uniform(1.0));
            let group = layer.group([entry("weight"), entry("bias")]);
            if unused == Some(number) {
                layer.unused(&group);
            }
        }
        b.build(3, DType::F32, &Device::Cpu, 0.1).unwrap()
    }

    /// Three layers, `h' = w h + w^2`.
    fn objective(p: &Parameters, layers: usize) -> Tensor {
        let mut h = Tensor::new(&[0.3f32, -0.7, 1.1, 0.2], p.device()).unwrap();
        for w in p.variables().take(layers) {
            h = ((h * w).unwrap() + w.sqr().unwrap()).unwrap();
        }
        h.sqr().unwrap().sum_all().unwrap()
    }

    /// The same on candle's variables.
    fn by_variables(p: &Parameters) -> Vec<f32> {
        let flat = Tensor::new(p.flat().unwrap(), p.device()).unwrap();
        let stand_in = Parameters::stand_in(&flat, &[4, 4, 4]).unwrap();
        let store = objective(&stand_in, 3).backward().unwrap();
        let gradient = |variable| store.get(variable).unwrap().to_vec1().unwrap();
        stand_in.variables().flat_map(gradient).collect()
    }

    #[derive(Default)]
    struct Order(Vec<usize>);

    impl Sink for Order {
        fn take(&mut self, place: Range<usize>, _: Option<&Tensor>) -> Result<()> {
            self.0.push(place.start);
            Ok(())
        }
    }

    #[test]
    fn gradients_come_last_layer_first_with_the_bits_of_variables() {
        let p = model(None);
        let gradient = p.gradient(&objective(&p, 3)).unwrap();
        assert_eq!(gradient.into_host().unwrap(), by_variables(&p));
        let order = p.backward(&objective(&p, 3), Missing::Refused, Order::default());
        assert_eq!(order.unwrap().0, [8, 4, 0]);
    }

    #[test]
    fn a_parameter_without_a_gradient_is_named() {
        let p = model(None);
        let told = p.gradient(&objective(&p, 2)).unwrap_err().to_string();
        assert!(told.contains("third.weight, third.bias"), "{told}");
        assert!(!told.contains("second"), "{told}");
        // Of an objective with a term of weight zero nobody can tell.
        let partial = (objective(&p, 2) + (objective(&p, 3) * 0.0).unwrap()).unwrap();
        assert!(p.gradient(&partial).is_err());
        let piece = Piece::new(8..12, 1.0, p.device()).unwrap();
        let piece = p.backward(&partial, Missing::Zero, piece).unwrap();
        let (rest, _) = piece.finish().unwrap();
        assert_eq!(rest.into_host().unwrap(), [0.0; 4]);
        let p = model(Some(2));
        let gradient = p.gradient(&objective(&p, 2)).unwrap().into_host().unwrap();
        assert!(gradient[..8].iter().all(|g| *g != 0.0));
        assert_eq!(gradient[8..], [0.0; 4]);
    }

    /// Begins a pass of another model within one, as a thread may that waits for others.
    struct Nested(Parameters, Vec<f32>);

    impl Sink for Nested {
        fn take(&mut self, _: Range<usize>, _: Option<&Tensor>) -> Result<()> {
            assert!(self.0.gradient(&objective(&self.0, 1)).is_err());
            self.1 = self.0.gradient(&objective(&self.0, 3))?.into_host()?;
            Ok(())
        }
    }

    #[test]
    fn passes_within_passes_do_not_disturb_each_other() {
        let (outer, inner) = (model(None), model(None));
        let want = by_variables(&inner);
        let nested = Nested(inner, Vec::new());
        let nested = outer.backward(&objective(&outer, 3), Missing::Refused, nested);
        let nested = nested.unwrap();
        assert_eq!(nested.1, want);
        // Of two models in one objective only the one that asks gets gradients.
        let both = (objective(&outer, 3) + objective(&nested.0, 3)).unwrap();
        let gradient = outer.gradient(&both).unwrap().into_host().unwrap();
        assert_eq!(gradient, by_variables(&outer));
        // Without a pass nobody does.
        objective(&outer, 3).backward().unwrap();
    }
}
