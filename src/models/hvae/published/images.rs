//! Hyper-parameter files of the published experiment on images.

use super::{ModelHyperParameters, TRAINING, config, unsupported};
use crate::data::spheres::Signal;
use crate::models::hvae::SphereDescription;
use crate::so3::sphere::{Grid, Rings};
use crate::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Further options that steer training or the making of data, and say nothing about the model.
const DATA: [&str; 5] = ["cz", "input_type", "noise", "seed", "data_filepath"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HyperParameters {
    /// Bandwidth of the grid.
    bw: usize,
    lmax: usize,
    normalize: String,
    quad_weights: bool,
    /// What the data were divided by when they were made; absent where they were left as they are.
    norm_factor: Option<f64>,
    model_hparams: ModelHyperParameters,
}

/// Understands the text of a hyper-parameter file, if it is one of images: they name a bandwidth.
///
/// # Errors
/// As [`super::from_json`].
pub fn from_json(text: &str) -> Result<Option<SphereDescription>> {
    let options: std::result::Result<Map<String, Value>, _> = serde_json::from_str(text);
    let Some(mut options) = options.ok().filter(|o| o.contains_key("bw")) else {
        return Ok(None);
    };
    options.retain(|name, _| ![&TRAINING[..], &DATA].concat().contains(&name.as_str()));
    let h: HyperParameters =
        serde_json::from_value(Value::Object(options)).map_err(Error::input)?;
    if h.normalize != "avg_sqrt_power" || !h.quad_weights {
        return Err(unsupported(
            "normalize, quad_weights",
            format!("{}, {}", h.normalize, h.quad_weights),
            "avg_sqrt_power with quad_weights = true",
        ));
    }
    let factors = [h.norm_factor, h.model_hparams.input_normalizing_constant];
    let norm_factor = factors.into_iter().flatten().product();
    if !(f64::is_finite(norm_factor) && norm_factor > 0.0) {
        return Err(unsupported("norm_factor", norm_factor, "a positive number"));
    }
    let description = SphereDescription {
        norm_factor,
        signal: Signal {
            lmax: h.lmax,
            grid: Grid {
                rings: Rings::DriscollHealy,
                bandwidth: h.bw,
            },
            channels: vec!["intensity".into()],
        },
        classes: Vec::new(),
        model: config(h.model_hparams)?,
    };
    description.signal.check()?;
    Ok(Some(description))
}
