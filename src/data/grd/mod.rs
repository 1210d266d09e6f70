//! Gene regulatory dynamics: simulated trajectories on random networks.
//!
//! The concentration of gene i follows the Michaelis-Menten equation of "Neural Dynamics on
//! Complex Networks" (Zang & Wang, KDD 2020, <https://arxiv.org/abs/1908.06491>):
//!
//! dx_i/dt = -b x_i^f + sum_j A_ij x_j^2 / (x_j^2 + 1)
//!
//! with f = 1 for degradation and f = 2 for dimerisation: the two classes. The data that Deep
//! Signature was tested on were never released; this is a benchmark of the same kind that
//! others can reproduce from its settings and seed. Everything random (network, start, decay
//! rate b, gain, noise) is drawn in the same way for both classes.

mod network;

pub use network::{Family, Network, SMALLEST};

use super::trajectory::{Graph, Header, Item, Source};
use crate::{Error, Result};
use differential_equations::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

/// What is simulated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Genes of each network, at least [`SMALLEST`].
    pub nodes: usize,
    /// Trajectories in all; classes take turns.
    pub trajectories: usize,
    /// Families that networks are drawn from, with equal chances.
    pub networks: Vec<Family>,
    /// End of the simulation, which starts at 0.
    pub time: f64,
    /// Frames, from 0 to `time` inclusive.
    pub ticks: usize,
    /// Largest concentration at the start: three random patches of 4 to 10 % of the genes each
    /// get a concentration from 0 to this; all others start at 0.
    pub start: f64,
    /// Range of the decay rate b, drawn log-uniformly for each trajectory.
    pub decay: [f64; 2],
    /// Range of the factor between observed value and concentration, drawn log-uniformly for
    /// each trajectory, as of a measurement in arbitrary units.
    pub gain: [f64; 2],
    /// Standard deviation of the observation noise, times the gain.
    pub noise: f64,
    pub seed: u64,
}

/// Class names; the exponent f is 1 for the first and 2 for the second.
pub const CLASSES: [&str; 2] = ["degradation", "dimerisation"];

const RELATIVE_TOLERANCE: f64 = 1e-7;
const ABSOLUTE_TOLERANCE: f64 = 1e-9;
const MOST_STEPS: usize = 1_000_000;

impl Settings {
    /// # Errors
    /// The first setting that makes no sense, by its command-line name.
    pub fn validate(&self) -> Result<()> {
        let refuse = |option: &str, what: &str| Err(Error::input(format!("--{option}: {what}")));
        let range = |[low, high]: [f64; 2]| low > 0.0 && low <= high && high.is_finite();
        let positive = |v: f64| v > 0.0 && v.is_finite();
        if self.nodes < SMALLEST {
            return refuse("nodes", &format!("{} is less than {SMALLEST}", self.nodes));
        }
        if self.trajectories < 2 {
            return refuse("trajectories", "at least 2 are needed, one of each class");
        }
        if self.networks.is_empty() {
            return refuse("networks", "name at least one family");
        }
        if !positive(self.time) {
            return refuse("time", "must be positive");
        }
        if self.ticks < 2 {
            return refuse("ticks", "at least 2 are needed");
        }
        if !positive(self.start) {
            return refuse("start", "must be positive");
        }
        if !range(self.decay) {
            return refuse(
                "decay",
                "must be two positive numbers, the smaller one first",
            );
        }
        if !range(self.gain) {
            return refuse(
                "gain",
                "must be two positive numbers, the smaller one first",
            );
        }
        if !(self.noise >= 0.0 && self.noise.is_finite()) {
            return refuse("noise", "must be zero or positive");
        }
        Ok(())
    }
}

/// The simulations as a source of trajectories. Trajectory k depends on the settings and k
/// alone.
pub struct Simulations {
    settings: Settings,
    items: Vec<Item>,
}

impl Simulations {
    /// # Errors
    /// As [`Settings::validate`].
    pub fn new(settings: Settings) -> Result<Self> {
        settings.validate()?;
        let item = |k: usize| Item {
            name: format!("grd-{k:06}"),
            label: Some(CLASSES[k % 2].into()),
            group: format!("grd-{k:06}"),
            split: None,
        };
        let items = (0..settings.trajectories).map(item).collect();
        Ok(Self { settings, items })
    }
}

impl Source for Simulations {
    fn items(&self) -> &[Item] {
        &self.items
    }

    fn cost(&self, _index: usize) -> u64 {
        1
    }

    fn produce(&self, index: usize, frame: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<Header> {
        let settings = &self.settings;
        let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
        rng.set_stream(index as u64);
        let family = settings.networks[rng.random_range(0..settings.networks.len())];
        let network = Network::draw(family, settings.nodes, &mut rng);
        let start = draw_start(&network, settings, &mut rng);
        let decay = log_uniform(settings.decay, &mut rng);
        let gain = log_uniform(settings.gain, &mut rng);

        let regulation = Regulation {
            network,
            decay,
            order: index % 2 + 1,
        };
        let states = integrate(&regulation, start, settings.time, settings.ticks)?;
        let mut observed = vec![0f32; settings.nodes];
        for state in states {
            for (value, x) in observed.iter_mut().zip(state) {
                let error: f64 = StandardNormal.sample(&mut rng);
                *value = (gain * (x + settings.noise * error)) as f32;
            }
            frame(&observed)?;
        }
        Ok(Header {
            graph: Graph {
                nodes: settings.nodes,
                edges: regulation.network.edges,
                atoms: None,
            },
            time_step: Some(settings.time / (settings.ticks - 1) as f64),
        })
    }
}

fn log_uniform([low, high]: [f64; 2], rng: &mut impl RngExt) -> f64 {
    low * (high / low).powf(rng.random())
}

fn draw_start(network: &Network, settings: &Settings, rng: &mut impl RngExt) -> Vec<f64> {
    let mut start = vec![0.0; settings.nodes];
    for _ in 0..3 {
        let share = rng.random_range(0.04..0.1);
        let value = settings.start * rng.random::<f64>();
        let count = ((share * settings.nodes as f64).round() as usize).max(1);
        for node in network.ball(count, rng) {
            start[node] = value;
        }
    }
    start
}

/// The right-hand side.
struct Regulation {
    network: Network,
    decay: f64,
    /// The exponent f: 1 or 2.
    order: usize,
}

impl ODE<f64, Vec<f64>> for Regulation {
    fn diff(&self, _t: f64, x: &Vec<f64>, dxdt: &mut Vec<f64>) {
        let activation: Vec<f64> = x.iter().map(|x| x * x / (x * x + 1.0)).collect();
        for (i, d) in dxdt.iter_mut().enumerate() {
            let neighbors = self.network.neighbors(i).iter();
            let input: f64 = neighbors.map(|&j| activation[j as usize]).sum();
            *d = input - self.decay * x[i].powi(self.order as i32);
        }
    }
}

/// States at `ticks` evenly spaced times from 0 to `time`, by the Dormand-Prince pair of
/// orders 5 and 4 with dense output.
fn integrate(
    regulation: &Regulation,
    start: Vec<f64>,
    time: f64,
    ticks: usize,
) -> Result<Vec<Vec<f64>>> {
    let at: Vec<f64> = (0..ticks)
        .map(|k| time * k as f64 / (ticks - 1) as f64)
        .collect();
    let method = ExplicitRungeKutta::dopri5()
        .rtol(RELATIVE_TOLERANCE)
        .atol(ABSOLUTE_TOLERANCE)
        .max_steps(MOST_STEPS);
    let solution = IVP::ode(regulation, 0.0, time, start)
        .t_eval(at)
        .method(method)
        .solve()
        .map_err(|_| {
            Error::input(format!(
                "the simulation of {} genes to time {time} is too stiff for an explicit \
                 Runge-Kutta method; use a smaller --start, --decay or --nodes",
                regulation.network.len()
            ))
        })?;
    if solution.y.len() != ticks {
        return Err(Error::internal(format!(
            "the solver returned {} of {ticks} states",
            solution.y.len()
        )));
    }
    Ok(solution.y)
}

#[cfg(test)]
mod tests;
