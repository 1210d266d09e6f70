//! A group of the file, what is read from it, and how a loss and its gradients are compared.

use crate::file::{place, read, text};
use crate::numbers::values;
use candle_core::{DType, Device, Tensor};
use hdf5::{File, Group};
use holosig::models::graph::Parts;
use holosig::models::layers::Pass;
use holosig::models::pretrain::{Batch, Draws, ObjectiveConfig, Representations};
use holosig::models::{Entry, Init, Parameters, ParametersBuilder, Scope, graph};
use std::cell::RefCell;

/// A group of the file, and its tolerance in f64.
pub struct Case<'a> {
    pub file: &'a File,
    pub group: Group,
    pub dtype: DType,
    pub tolerance: f64,
    pub failures: RefCell<Vec<String>>,
}

/// What a loss is made of.
pub struct Made {
    /// Names of datasets and the terms that they hold.
    pub losses: Vec<(&'static str, Tensor)>,
    /// The one that gradients are of.
    pub total: Tensor,
}

impl From<Tensor> for Made {
    fn from(loss: Tensor) -> Self {
        Self {
            losses: vec![("loss", loss.clone())],
            total: loss,
        }
    }
}

pub fn shape(group: &Group, name: &str) -> Vec<usize> {
    let dataset = group.dataset(name);
    dataset
        .unwrap_or_else(|e| panic!("{}/{name}: {e}", group.name()))
        .shape()
}

impl Case<'_> {
    pub fn batch(&self) -> Group {
        self.file.group("batch").unwrap()
    }

    /// A dataset of the group, or else of the batch, in the case's type.
    pub fn floats(&self, name: &str) -> Tensor {
        let own = self.group.dataset(name).is_ok();
        let group = if own {
            self.group.clone()
        } else {
            self.batch()
        };
        self.tensor(read(&group, name), &shape(&group, name))
    }

    pub fn tensor(&self, values: Vec<f64>, shape: &[usize]) -> Tensor {
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        tensor.to_dtype(self.dtype).unwrap()
    }

    pub fn integers(&self, name: &str) -> (Vec<u32>, Vec<usize>) {
        let own = self.group.dataset(name).is_ok();
        let group = if own {
            self.group.clone()
        } else {
            self.batch()
        };
        let values = read::<i32>(&group, name).into_iter().map(|v| v as u32);
        (values.collect(), shape(&group, name))
    }

    pub fn rows(&self, name: &str) -> Tensor {
        let (values, shape) = self.integers(name);
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    pub fn graph_of(&self) -> Vec<u32> {
        self.integers("batch").0
    }

    pub fn positions(&self, name: &str) -> Vec<[f64; 3]> {
        values(&self.wide(name)).as_chunks().0.to_vec()
    }

    /// A dataset in double precision.
    pub fn wide(&self, name: &str) -> Tensor {
        let own = self.group.dataset(name).is_ok();
        let group = if own {
            self.group.clone()
        } else {
            self.batch()
        };
        let values = read::<f64>(&group, name);
        Tensor::from_vec(values, shape(&group, name), &Device::Cpu).unwrap()
    }

    /// A number of a setting such as `T=0.1 neg=1` or `hidden 16`.
    pub fn setting(&self, key: &str) -> String {
        let settings = text(&self.group, "settings").replace('=', " ");
        let words: Vec<&str> = settings.split([' ', ';']).collect();
        let at = words.iter().position(|w| *w == key);
        let at = at.unwrap_or_else(|| panic!("{}: no setting {key}", self.group.name()));
        words[at + 1].to_string()
    }

    pub fn number(&self, key: &str) -> f64 {
        self.setting(key).parse().unwrap()
    }

    /// Where a parameter and its gradient are stored.
    pub fn stored(name: &str) -> [String; 2] {
        let (head, rest) = name.split_once('.').unwrap_or((name, ""));
        match (head, head.rsplit_once('_')) {
            ("stub", _) => [rest.to_string(), format!("grad_{rest}")],
            (_, Some(("net" | "decoder", k))) => {
                [format!("{head}/{rest}"), format!("grad_{k}/{rest}")]
            }
            _ => [format!("param/{name}"), format!("grad/{name}")],
        }
    }

    /// Values of a parameter or of a buffer: of the group, of that it shares parameters with, or of
    /// the batch.
    pub fn value(&self, entry: &Entry) -> Vec<f64> {
        let [name, _] = Self::stored(&entry.name);
        if entry.name == "vector.weight" {
            // Its predictions are stored.
            return vec![0.0; entry.len()];
        }
        let mut groups = vec![self.group.clone()];
        if self.group.attr("parameters").is_ok() {
            let of = text(&self.group, "parameters");
            groups.push(self.file.group(of.rsplit(' ').next().unwrap()).unwrap());
        }
        groups.push(self.batch());
        let found = groups.iter().find(|g| g.dataset(&name).is_ok());
        let group = found.unwrap_or_else(|| panic!("{}: no {name}", place(&self.group)));
        assert_eq!(shape(group, &name), entry.shape, "{name}");
        read(group, &name)
    }

    /// Builds what a loss needs, gives it the stored parameters, and compares loss and gradients;
    /// `stubs` are what the network is made to say.
    pub fn check<T>(
        &self,
        stubs: &[&str],
        build: impl FnOnce(&mut Scope) -> T,
        loss: impl FnOnce(&T, &[Tensor], &Pass) -> Made,
    ) {
        let mut builder = ParametersBuilder::default();
        let own = build(&mut builder.root());
        let mut root = builder.root();
        let handles: Vec<_> = stubs
            .iter()
            .map(|name| {
                let group = if self.group.dataset(name).is_ok() {
                    self.group.clone()
                } else {
                    self.batch()
                };
                let shape = shape(&group, name);
                root.parameter(format_args!("stub.{name}"), shape, Init::Constant(0.0))
            })
            .collect();
        let p = builder.build(0, self.dtype, &Device::Cpu, 0.1).unwrap();
        set(
            &p,
            &p.entries()
                .iter()
                .map(|e| self.value(e))
                .collect::<Vec<_>>()
                .concat(),
        );
        let buffers = p.buffer_entries().iter().flat_map(|e| self.value(e));
        p.set_buffers(&buffers.map(|v| v as f32).collect::<Vec<_>>())
            .unwrap();
        let stubs: Vec<Tensor> = handles.iter().map(|h| p.get(h).unwrap()).collect();
        let made = loss(&own, &stubs, &Pass::training(&p));
        for (name, loss) in &made.losses {
            let known: f64 = self.group.dataset(name).unwrap().read_scalar().unwrap();
            self.compare(&values(loss), &[known], name);
        }
        let zero = Pass::training(&p).nothing().unwrap();
        let gradient = p.exact_gradient(&(made.total + zero).unwrap()).unwrap();
        // What cancels, such as the gradient of a bias before a batch norm, leaves the rounding
        // errors of what it was a sum of.
        let rounding = match self.dtype {
            DType::F64 => 0.0,
            _ => 1e-2,
        };
        let mut compared = 0;
        for entry in p.entries() {
            let [_, name] = Self::stored(&entry.name);
            if self.group.dataset(&name).is_ok() {
                let own = &gradient[entry.offset..][..entry.len()];
                let known = read::<f64>(&self.group, &name);
                self.compare_within(own, &known, &name, rounding * size(&gradient));
                compared += 1;
            }
        }
        assert!(compared > 0, "{}: no gradient", place(&self.group));
    }

    pub fn compare(&self, own: &[f64], published: &[f64], what: &str) {
        self.compare_within(own, published, what, 0.0);
    }

    /// Notes a difference that is larger than the tolerance times the largest published number,
    /// or times `least`.
    pub fn compare_within(&self, own: &[f64], published: &[f64], what: &str, least: f64) {
        let what = format!("{} {:?} {what}", place(&self.group), self.dtype);
        assert_eq!(own.len(), published.len(), "{what}");
        let largest = size(published).max(least).max(1e-3);
        let differences = own.iter().zip(published).map(|(a, b)| (a - b).abs());
        let error =
            differences.fold(0f64, |m, d| if d > m || d.is_nan() { d } else { m }) / largest;
        println!("{what}: {error:.1e}");
        let tolerance = match self.dtype {
            DType::F64 => self.tolerance,
            _ => 2e-4,
        };
        if error.is_nan() || error > tolerance {
            let failure = format!("{what}: {error:e} > {tolerance:e}");
            self.failures.borrow_mut().push(failure);
        }
    }

    /// The atoms of the batch without edges, for what only needs to know whose they are.
    pub fn view(&self) -> graph::Batch {
        let numbers: Vec<u8> = self.integers("z").0.iter().map(|&z| z as u8).collect();
        let graph_of = self.graph_of();
        let parts = Parts {
            numbers: &numbers,
            positions: &self.positions("pos"),
            receivers: &[],
            senders: &[],
            shifts: &[],
            bonds: &[],
            graph_of: &graph_of,
            graphs: self.molecules(),
        };
        graph::Batch::new(parts, self.dtype, &Device::Cpu).unwrap()
    }

    pub fn molecules(&self) -> usize {
        self.graph_of().iter().max().map_or(0, |&g| g as usize + 1)
    }

    pub fn draws(&self, names: &[&'static str]) -> Draws {
        let mut draws = Draws::default();
        draws.put("graph_of", self.rows("batch"));
        for name in names {
            let group = if self.group.dataset(name).is_ok() {
                &self.group
            } else {
                &self.batch()
            };
            let dtype = group.dataset(name).unwrap().dtype().unwrap();
            draws.put(
                name,
                match dtype.is::<f64>() {
                    true => self.floats(name),
                    false => self.rows(name),
                },
            );
        }
        draws
    }

    /// An objective on features of atoms and of molecules, with these draws.
    pub fn objective(&self, config: &dyn ObjectiveConfig, stubs: [&[&str]; 2], draws: Draws) {
        let names = stubs.concat();
        let width = *self.floats(names[0]).dims().last().unwrap();
        let elements = match self.group.dataset("param/predictor.weight") {
            Ok(weight) => weight.shape()[0],
            Err(_) => 119,
        };
        let build = |b: &mut Scope| config.build(b, width, elements).unwrap();
        self.check(&names, build, |objective, given, pass| {
            let (atoms, graphs) = given.split_at(stubs[0].len());
            let x = Representations {
                atoms: atoms.to_vec(),
                graphs: graphs.to_vec(),
                vectors: vec![None; 2],
            };
            let batch = Batch {
                views: vec![self.view(); 2],
                draws,
            };
            let terms = objective.losses(&x, &batch, pass).unwrap();
            assert_eq!(terms.len(), 1);
            terms.into_iter().next().unwrap().1.into()
        });
    }
}

/// The largest magnitude.
pub fn size(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |m, v| m.max(v.abs()))
}

/// Replaces all parameters.
pub fn set(p: &Parameters, flat: &[f64]) {
    let mut rest = flat;
    for variable in p.variables() {
        let (own, others) = rest.split_at(variable.elem_count());
        let own = Tensor::new(own, &Device::Cpu).unwrap();
        variable
            .slice_set(&own.to_dtype(p.dtype()).unwrap(), 0, 0)
            .unwrap();
        rest = others;
    }
}
