//! All models: a line each, with the commits whose checkpoints it must load.

use crate::affinities::Affinities;
use crate::autoencoder::Autoencoder;
use crate::graphs::Graphs;
use crate::properties;
use crate::spheres::{Classifier, Conditional};
use crate::trajectories::Trajectories;
use holosig::models::deep_signature::Objective;

macro_rules! models {
    ($($name:ident: $case:expr $(, since $($commit:literal)+)?;)+) => {$(
        mod $name {
            use super::*;

            #[test]
            fn builds_from_its_default_job() {
                properties::builds_from_its_default_job(&$case);
            }

            #[test]
            fn names_and_shapes_are_stable() {
                properties::names_and_shapes_are_stable(&$case, stringify!($name));
            }

            #[test]
            fn the_seed_decides_the_start() {
                properties::the_seed_decides_the_start(&$case);
            }

            #[test]
            fn a_batch_equals_its_members() {
                properties::a_batch_equals_its_members(&$case);
            }

            #[test]
            fn symmetries_hold() {
                properties::symmetries_hold(&$case);
            }

            #[test]
            fn gradients_equal_finite_differences() {
                properties::gradients_equal_finite_differences(&$case);
            }

            #[test]
            fn bits_depend_on_neither_threads_nor_ranks() {
                properties::bits_depend_on_neither_threads_nor_ranks(&$case);
            }

            #[test]
            fn a_saved_model_is_the_same() {
                properties::a_saved_model_is_the_same(&$case);
            }

            $(#[test]
            fn earlier_checkpoints_load() {
                for commit in [$($commit),+] {
                    properties::an_earlier_checkpoint_loads(&$case, stringify!($name), commit);
                }
            })?
        }
    )+};
}

models! {
    hae: Autoencoder(""), since "7c11798";
    hvae: Autoencoder("variational = true"), since "7c11798";
    conditional: Conditional("denoising = 0.2");
    unconstrained: Conditional("unconstrained = [9]");
    sphere_classifier: Classifier("dropout = 0.3");
    projected_classifier: Classifier("projection = 4");
    affinity: Affinities("");
    affinity_of_batches: Affinities("views = ['without', 'products']\npool = 'mean'\nhidden = [6]\nstatistics = 'batch'");
    deep_signature: Trajectories("", Objective::Binary, 3), since "7c11798";
    projected: Trajectories("depth = 3\nprojection = 4", Objective::Regression, 3);
    published: Trajectories("variant = 'published'", Objective::Binary, 3), since "7c11798";
    head: Trajectories("method = 'head'", Objective::Classes(3), 3);
    tail: Trajectories("method = 'tail'", Objective::Regression, 3);
    head_and_tail: Trajectories("method = 'head-and-tail'", Objective::Binary, 1);
    graph_lstm: Trajectories("method = 'graph-lstm'", Objective::Classes(3), 1), since "7c11798";
    graph_transformer: Trajectories("method = 'graph-transformer'", Objective::Regression, 1);
    space_time_transformer: Trajectories("method = 'space-time-transformer'", Objective::Binary, 3);
    spectral_beads: Trajectories("coarse_graining = 'spectral'", Objective::Binary, 3);
    community_beads: Trajectories("coarse_graining = 'communities'", Objective::Binary, 3);
    schnet: Graphs("network = 'schnet'\nwidth = 6\nfilters = 6\nlayers = 2\nradial = 8\ncutoff = 3.0\nelements = 10");
    painn: Graphs("network = 'painn'\nwidth = 6\nlayers = 2\nradial = 5\ncutoff = 3.0\nelements = 10");
}
