//! A network with parameters, a batch, and what the published code makes of it.

use crate::Golden;
use crate::graphs::{Atoms, Edges, gradient, loss, parameters, set_parameters};
use crate::numbers::values;
use candle_core::{DType, Device, Tensor};
use holosig::models::Model;
use holosig::models::graph::{Batch, GraphConfig, GraphModel};

pub struct Case {
    /// File and group.
    pub place: String,
    pub config: GraphConfig,
    pub parameters: Vec<Values>,
    pub atoms: Atoms,
    pub edges: Edges,
    /// Orders of the edges' bonds; empty where they do not matter.
    pub bonds: Vec<u8>,
    pub energy: Published,
    pub forces: Option<Published>,
    pub losses: Vec<Loss>,
    pub training: Option<Training>,
}

/// A parameter, or its gradient, by name.
pub struct Values {
    pub name: String,
    pub values: Vec<f64>,
}

/// A prediction of the published code.
pub struct Published {
    pub double: Vec<f64>,
    /// The same code in single precision: what errors are its own.
    pub single: Option<Vec<f64>>,
}

/// A loss: a penalty of the model's settings on each target that there is, times its weight.
pub struct Loss {
    /// Of energies and of forces.
    pub weights: [f64; 2],
    pub energy: Option<Vec<f64>>,
    pub forces: Option<Vec<f64>>,
    pub value: f64,
    pub gradients: Gradients,
}

pub enum Gradients {
    Elements(Vec<Values>),
    /// Of each parameter in the order of [`Case::parameters`]: the norm, and the product with
    /// numbers of a rule.
    Products {
        norms: Vec<f64>,
        dots: Vec<f64>,
        /// Parameter and element.
        rule: Box<dyn Fn(u64, u64) -> f64>,
    },
}

/// Steps of Adam (betas 0.9, 0.999, epsilon 1e-8) on a loss of energies.
pub struct Training {
    pub rate: f64,
    pub energy: Vec<f64>,
    /// Before each step, and after the last.
    pub losses: Vec<f64>,
    pub energies_after: Option<Vec<f64>>,
}

/// Largest difference, in units of the largest value.
#[track_caller]
pub fn check(own: &[f64], published: &[f64], tolerance: f64, what: &str) {
    assert_eq!(own.len(), published.len(), "{what}");
    let largest = published.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
    let differences = own.iter().zip(published).map(|(a, b)| (a - b).abs());
    let error = differences.fold(0f64, |m, d| if d > m || d.is_nan() { d } else { m }) / largest;
    println!("{what}: {error:.1e}");
    assert!(error <= tolerance, "{what}: {error:e} > {tolerance:e}");
}

/// Gives a model the published parameters.
pub fn take(model: &impl Model, published: &[Values], place: &str) {
    let entries = model.parameters().entries();
    let mut names: Vec<_> = entries.iter().map(|e| &*e.name).collect();
    let mut all: Vec<_> = published.iter().map(|p| &*p.name).collect();
    names.sort_unstable();
    all.sort_unstable();
    assert_eq!(names, all, "{place}: names of parameters");
    let mut flat = vec![0.0; model.parameters().len()];
    for entry in entries {
        let own = published.iter().find(|p| p.name == entry.name).unwrap();
        flat[entry.offset..][..entry.len()].copy_from_slice(&own.values);
    }
    set_parameters(model, &flat);
}

impl Published {
    /// The tolerance for numbers of this type: in single precision the published code's own errors
    /// count too.
    pub fn tolerance(&self, dtype: DType, tolerance: f64) -> f64 {
        let (Some(single), DType::F32) = (&self.single, dtype) else {
            return tolerance;
        };
        let largest = self.double.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
        let errors = self.double.iter().zip(single).map(|(a, b)| (a - b).abs());
        tolerance + 4.0 * errors.fold(0f64, f64::max) / largest
    }
}

impl Golden for Case {
    /// Predictions, losses and their gradients.
    fn check(&self, dtype: DType, tolerance: f64) {
        self.check_all(dtype, tolerance);
    }

    /// The losses of some steps of Adam on energies.
    fn check_training(&self) {
        self.check_steps();
    }
}

impl Case {
    /// The network with the published parameters.
    fn model(&self, dtype: DType) -> GraphModel {
        let model = GraphModel::new(&self.config, 0, dtype, &Device::Cpu).unwrap();
        take(&model, &self.parameters, &self.place);
        model
    }

    /// Number of a parameter in published order.
    fn number(&self, name: &str) -> usize {
        let found = self.parameters.iter().position(|p| p.name == name);
        found.unwrap_or_else(|| panic!("{}: no parameter {name}", self.place))
    }

    fn batch(&self, dtype: DType) -> Batch {
        self.atoms.batch_of_bonds(&self.edges, &self.bonds, dtype)
    }

    fn check_all(&self, dtype: DType, tolerance: f64) {
        let what = |part: &str| format!("{} {dtype:?} {part}", self.place);
        let model = self.model(dtype);
        let mut batch = self.batch(dtype);
        let prediction = model.predict(&batch).unwrap();
        let mut largest = self.energy.tolerance(dtype, tolerance);
        let own = values(&prediction.energy);
        check(&own, &self.energy.double, largest, &what("energy"));
        if let Some(forces) = &self.forces {
            let tolerance = forces.tolerance(dtype, tolerance);
            let own = values(&prediction.forces);
            check(&own, &forces.double, tolerance, &what("forces"));
            largest = largest.max(tolerance);
        }
        for expected in &self.losses {
            let tensor = |values: &[f64], shape: &[usize]| {
                let tensor = Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
                tensor.to_dtype(dtype).unwrap()
            };
            let (graphs, atoms) = (batch.len(), batch.atoms());
            let energy = expected.energy.as_ref().map(|v| tensor(v, &[graphs]));
            batch.targets.graphs = energy.into_iter().collect();
            batch.targets.forces = expected.forces.as_ref().map(|v| tensor(v, &[atoms, 3]));
            let loss = loss(&model, &batch, expected.weights);
            check(&values(&loss), &[expected.value], largest, &what("loss"));
            self.check_gradients(&model, &loss, &expected.gradients, 10.0 * largest);
        }
    }

    fn check_gradients(
        &self,
        model: &GraphModel,
        loss: &Tensor,
        published: &Gradients,
        tolerance: f64,
    ) {
        let what = |part: &str| format!("{} {:?} {part}", self.place, loss.dtype());
        let mut own = vec![Vec::new(); self.parameters.len()];
        let gradients = gradient(model, loss);
        for (entry, gradient) in model.parameters().entries().iter().zip(gradients) {
            own[self.number(&entry.name)] = gradient;
        }
        match published {
            Gradients::Elements(published) => {
                assert_eq!(published.len(), own.len(), "{}", self.place);
                for Values { name, values } in published {
                    let what = what(&format!("gradient of {name}"));
                    check(&own[self.number(name)], values, tolerance, &what);
                }
            }
            Gradients::Products { norms, dots, rule } => {
                let norm = |g: &Vec<f64>| g.iter().map(|v| v * v).sum::<f64>().sqrt();
                let own_norms: Vec<_> = own.iter().map(norm).collect();
                check(&own_norms, norms, tolerance, &what("gradient norms"));
                let dot = |(t, g): (u64, &Vec<f64>)| -> f64 {
                    (0..).zip(g).map(|(i, v)| v * rule(t, i)).sum()
                };
                let own_dots: Vec<_> = (0..).zip(&own).map(dot).collect();
                check(&own_dots, dots, tolerance, &what("gradient products"));
            }
        }
    }

    fn check_steps(&self) {
        let Some(training) = &self.training else {
            return;
        };
        let what = |part: &str| format!("{} {part} of training", self.place);
        let model = self.model(DType::F64);
        let mut batch = self.batch(DType::F64);
        batch.targets.graphs = vec![Tensor::new(&*training.energy, &Device::Cpu).unwrap()];
        let mut adam = Adam::new(&model, training.rate);
        let mut losses = Vec::new();
        for step in 0..training.losses.len() {
            let loss = loss(&model, &batch, [1.0; 2]);
            losses.extend(values(&loss));
            if step + 1 < training.losses.len() {
                adam.step(&model, &gradient(&model, &loss).concat());
            }
        }
        check(&losses, &training.losses, 1e-9, &what("losses"));
        if let Some(published) = &training.energies_after {
            let energies = values(&model.energy(&batch).unwrap());
            check(&energies, published, 1e-9, &what("energies after"));
        }
    }
}

/// Adam as in PyTorch, in f64.
pub struct Adam {
    rate: f64,
    moments: Vec<[f64; 2]>,
    steps: i32,
}

impl Adam {
    pub fn new(model: &impl Model, rate: f64) -> Self {
        Self {
            rate,
            moments: vec![[0.0; 2]; model.parameters().len()],
            steps: 0,
        }
    }

    pub fn step(&mut self, model: &impl Model, gradient: &[f64]) {
        const BETAS: [f64; 2] = [0.9, 0.999];
        self.steps += 1;
        let mut flat = parameters(model);
        for ((x, moments), &g) in flat.iter_mut().zip(&mut self.moments).zip(gradient) {
            let new = [g, g * g];
            let mut corrected = [0.0; 2];
            for k in 0..2 {
                moments[k] = BETAS[k] * moments[k] + (1.0 - BETAS[k]) * new[k];
                corrected[k] = moments[k] / (1.0 - BETAS[k].powi(self.steps));
            }
            *x -= self.rate * corrected[0] / (corrected[1].sqrt() + 1e-8);
        }
        set_parameters(model, &flat);
    }
}
