//! The published hyper-parameter file, `hparams.json`, and the settings that it stands for.
//!
//! Option names are those of the published training configuration; every option of the
//! published model is either understood or refused by name.

pub mod images;

use super::Description;
use super::config::{ChannelRule, HvaeConfig, Norm, SignalAffine};
use crate::data::structure::ReadOptions;
use crate::models::layers::Activation;
use crate::ops::zernike::{Binomial, Channel, Settings, Weighting};
use crate::so3::paths::Rule;
use crate::{Error, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// Options that steer the published training and say nothing about the trained model.
const TRAINING: [&str; 10] = [
    "data_filepath",
    "weight_decay",
    "n_epochs",
    "no_kl_epochs",
    "warmup_kl_epochs",
    "lr",
    "lr_scheduler",
    "batch_size",
    "lambdas",
    "lambdas_schedule",
];

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HyperParameters {
    rcut: f64,
    lmax: usize,
    rmax: usize,
    channels: Vec<String>,
    rst_normalization: Option<String>,
    /// Degree that the `square` weights were computed with.
    collected_lmax: Option<usize>,
    #[serde(default)]
    backbone_only: bool,
    /// Bears on channels that are refused.
    #[serde(default)]
    get_psysicochemical_info_for_hydrogens: bool,
    normalize_input: bool,
    /// The published inference seeds a generator with it.
    #[serde(default)]
    seed: u64,
    model_hparams: ModelHyperParameters,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelHyperParameters {
    latent_dim: usize,
    net_lmax: usize,
    ch_size_list: Vec<usize>,
    lmax_list: Option<Vec<usize>>,
    ls_nonlin_rule_list: Vec<String>,
    ch_nonlin_rule_list: Vec<String>,
    do_initial_linear_projection: bool,
    ch_initial_linear_projection: Option<usize>,
    bottleneck_hidden_dims: Option<Vec<usize>>,
    use_additive_skip_connections: bool,
    use_batch_norm: bool,
    /// Bears on the start of training only.
    weights_initializer: Option<String>,
    norm_type: Option<String>,
    normalization: String,
    /// False, true or a factor.
    norm_balanced: Value,
    /// Null, true, false, or a kind of signal norm.
    norm_affine: Value,
    norm_nonlinearity: Option<String>,
    norm_location: String,
    linearity_first: bool,
    filter_symmetric: bool,
    x_rec_loss_fn: String,
    do_final_signal_norm: bool,
    learn_frame: bool,
    is_vae: bool,
    input_normalizing_constant: Option<f64>,
}

/// Understands the text of a published hyper-parameter file.
///
/// # Errors
/// Text that is not JSON, a missing or unknown option, a value that this program does not
/// support: the option is named.
pub fn from_json(text: &str) -> Result<Description> {
    let mut options: Map<String, Value> =
        serde_json::from_str(text).map_err(|e| Error::input(format!("not a JSON object: {e}")))?;
    options.retain(|name, _| !TRAINING.contains(&name.as_str()));
    let h: HyperParameters =
        serde_json::from_value(Value::Object(options)).map_err(Error::input)?;
    let norm_factor = norm_factor(&h)?;
    Ok(Description {
        central_residue: true,
        surroundings: true,
        zernike: zernike(&h)?,
        read: ReadOptions::default(),
        model: config(h.model_hparams)?,
        norm_factor,
    })
}

/// The text of a hyper-parameter file with which the published code builds this model and
/// its input.
///
/// # Errors
/// A setting that the published code does not have, by name.
pub fn to_json(d: &Description) -> Result<String> {
    if !d.model.unconstrained.is_empty() {
        return Err(Error::input(
            "model.unconstrained has no name in a published hyper-parameter file",
        ));
    }
    let z = &d.zernike;
    if z.binomial != Binomial::Published {
        return Err(Error::input(
            "zernike.binomial = \"exact\" has no name in a published hyper-parameter file",
        ));
    }
    let h = HyperParameters {
        rcut: z.cutoff,
        lmax: z.lmax,
        rmax: z.nmax,
        channels: z
            .channels
            .iter()
            .map(published_channel)
            .collect::<Result<_>>()?,
        rst_normalization: match z.weighting {
            Weighting::None => None,
            Weighting::Square => Some("square".into()),
        },
        collected_lmax: Some(z.lmax),
        backbone_only: false,
        get_psysicochemical_info_for_hydrogens: false,
        normalize_input: true,
        seed: 0,
        model_hparams: model_hyper_parameters(d)?,
    };
    serde_json::to_string_pretty(&h).map_err(Error::internal)
}

fn model_hyper_parameters(d: &Description) -> Result<ModelHyperParameters> {
    let c = &d.model;
    let blocks = c.channels.len();
    let (norm_type, norm_affine, norm_balanced, norm_nonlinearity) = published_norm(&c.norm)?;
    Ok(ModelHyperParameters {
        latent_dim: c.latent_dim,
        net_lmax: c.lmax.unwrap_or(d.zernike.lmax),
        ch_size_list: c.channels.clone(),
        lmax_list: c.degrees.clone(),
        ls_nonlin_rule_list: names(&c.rules, Rule::Efficient, blocks)?,
        ch_nonlin_rule_list: names(&c.channel_rules, ChannelRule::Elementwise, blocks)?,
        do_initial_linear_projection: c.projection.is_some(),
        ch_initial_linear_projection: c.projection,
        bottleneck_hidden_dims: (!c.hidden.is_empty()).then(|| c.hidden.clone()),
        use_additive_skip_connections: c.skip,
        use_batch_norm: c.batch_norm,
        weights_initializer: None,
        norm_type,
        normalization: name(&c.normalization)?,
        norm_balanced,
        norm_affine,
        norm_nonlinearity,
        norm_location: name(&c.norm_place)?,
        linearity_first: c.linear_first,
        filter_symmetric: c.symmetric,
        x_rec_loss_fn: name(&c.reconstruction)?,
        do_final_signal_norm: c.final_signal_norm,
        learn_frame: c.learn_frame,
        is_vae: c.variational,
        input_normalizing_constant: Some(d.norm_factor),
    })
}
fn unsupported(option: &str, value: impl std::fmt::Display, known: &str) -> Error {
    Error::input(format!(
        "{option} = {value} is not supported; supported: {known}"
    ))
}

fn norm_factor(h: &HyperParameters) -> Result<f64> {
    match h.model_hparams.input_normalizing_constant {
        _ if !h.normalize_input => Ok(1.0),
        Some(factor) if factor.is_finite() && factor > 0.0 => Ok(factor),
        Some(factor) => Err(unsupported(
            "input_normalizing_constant",
            factor,
            "a positive number",
        )),
        None => Err(Error::input(
            "normalize_input is true, but model_hparams.input_normalizing_constant is null: \
             the file was written before the training that fills it in",
        )),
    }
}

fn zernike(h: &HyperParameters) -> Result<Settings> {
    let weighting = match h.rst_normalization.as_deref() {
        None => Weighting::None,
        Some("square") => Weighting::Square,
        Some(other) => return Err(unsupported("rst_normalization", other, "null, square")),
    };
    // `square` weights depend on every degree that was computed, also on those cut off later.
    if weighting == Weighting::Square
        && let Some(collected) = h.collected_lmax
        && collected != h.lmax
    {
        return Err(unsupported(
            "collected_lmax",
            format!(
                "{collected} with lmax = {} and rst_normalization = square",
                h.lmax
            ),
            "collected_lmax equal to lmax",
        ));
    }
    if h.backbone_only {
        return Err(unsupported("backbone_only", true, "false"));
    }
    Ok(Settings {
        lmax: h.lmax,
        nmax: h.rmax,
        cutoff: h.rcut,
        channels: h
            .channels
            .iter()
            .map(|c| channel(c))
            .collect::<Result<_>>()?,
        weighting,
        binomial: Binomial::Published,
        ligand_weight: 1.0,
    })
}

/// Elements that the published code has channels for.
const ELEMENTS: [&str; 5] = ["C", "N", "O", "S", "H"];

fn channel(name: &str) -> Result<Channel> {
    if !ELEMENTS.contains(&name) {
        return Err(unsupported("channels", name, &ELEMENTS.join(", ")));
    }
    name.parse()
}

fn published_channel(channel: &Channel) -> Result<String> {
    let name = channel.to_string();
    if !ELEMENTS.contains(&name.as_str()) {
        return Err(Error::input(format!(
            "zernike.channels: {name} has no name in a published hyper-parameter file"
        )));
    }
    Ok(name)
}

fn config(m: ModelHyperParameters) -> Result<HvaeConfig> {
    Ok(HvaeConfig {
        rules: choices("ls_nonlin_rule_list", &m.ls_nonlin_rule_list)?,
        channel_rules: choices("ch_nonlin_rule_list", &m.ch_nonlin_rule_list)?,
        norm: norm(&m)?,
        norm_place: choice("norm_location", &m.norm_location)?,
        normalization: choice("normalization", &m.normalization)?,
        reconstruction: choice("x_rec_loss_fn", &m.x_rec_loss_fn)?,
        degrees: m.lmax_list,
        projection: match (
            m.do_initial_linear_projection,
            m.ch_initial_linear_projection,
        ) {
            (false, _) => None,
            (true, Some(channels)) => Some(channels),
            (true, None) => {
                return Err(Error::input(
                    "do_initial_linear_projection is true, but ch_initial_linear_projection is null",
                ));
            }
        },
        lmax: Some(m.net_lmax),
        symmetric: m.filter_symmetric,
        skip: m.use_additive_skip_connections,
        batch_norm: m.use_batch_norm,
        linear_first: m.linearity_first,
        hidden: m.bottleneck_hidden_dims.unwrap_or_default(),
        learn_frame: m.learn_frame,
        variational: m.is_vae,
        final_signal_norm: m.do_final_signal_norm,
        ..HvaeConfig::new(m.latent_dim, m.ch_size_list)
    })
}

fn norm(m: &ModelHyperParameters) -> Result<Norm> {
    // The published code asks Python whether the value is true.
    let truthy = match &m.norm_affine {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::String(s) => !s.is_empty(),
        other => {
            return Err(unsupported(
                "norm_affine",
                other,
                "null, true, false, a name",
            ));
        }
    };
    match m.norm_type.as_deref() {
        None => Ok(Norm::None),
        Some("signal") => Ok(Norm::Signal {
            affine: match &m.norm_affine {
                Value::Null => SignalAffine::None,
                Value::String(s) => choice("norm_affine", s)?,
                other => {
                    let known = "null, unique, per_l, per_feature with norm_type = signal";
                    return Err(unsupported("norm_affine", other, known));
                }
            },
            balance: match &m.norm_balanced {
                Value::Null | Value::Bool(false) => None,
                Value::Bool(true) => Some(1.0),
                other => match other.as_f64() {
                    Some(0.0) => None,
                    Some(factor) => Some(factor),
                    None => {
                        return Err(unsupported("norm_balanced", other, "true, false, a number"));
                    }
                },
            },
        }),
        Some("layer") => Ok(Norm::Layer { affine: truthy }),
        Some("layer_nonlin") => Ok(Norm::LayerNonlin {
            affine: truthy,
            activation: match &m.norm_nonlinearity {
                None => Activation::Identity,
                Some(name) => choice("norm_nonlinearity", name)?,
            },
        }),
        Some(other) => Err(unsupported(
            "norm_type",
            other,
            "null, signal, layer, layer_nonlin",
        )),
    }
}

type PublishedNorm = (Option<String>, Value, Value, Option<String>);

fn published_norm(norm: &Norm) -> Result<PublishedNorm> {
    Ok(match norm {
        Norm::None => (None, Value::Null, Value::Bool(false), None),
        Norm::Signal { affine, balance } => {
            let affine = match affine {
                SignalAffine::None => Value::Null,
                named => Value::String(name(named)?),
            };
            let balanced = balance.map_or(Value::Bool(false), Value::from);
            (Some("signal".into()), affine, balanced, None)
        }
        Norm::Layer { affine } => (
            Some("layer".into()),
            Value::Bool(*affine),
            Value::Bool(false),
            None,
        ),
        Norm::LayerNonlin { affine, activation } => (
            Some("layer_nonlin".into()),
            Value::Bool(*affine),
            Value::Bool(false),
            Some(name(activation)?),
        ),
    })
}

/// A setting by its published name; our names are the same.
fn choice<T: DeserializeOwned>(option: &str, value: &str) -> Result<T> {
    serde_json::from_value(Value::String(value.into()))
        .map_err(|e| Error::input(format!("{option} is not supported: {e}")))
}

fn choices<T: DeserializeOwned>(option: &str, values: &[String]) -> Result<Vec<T>> {
    values.iter().map(|v| choice(option, v)).collect()
}

fn name<T: Serialize>(value: &T) -> Result<String> {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => Ok(name),
        other => Err(Error::internal(format!(
            "a setting without a name: {other:?}"
        ))),
    }
}

fn names<T: Serialize + Copy>(values: &[T], default: T, blocks: usize) -> Result<Vec<String>> {
    (0..blocks)
        .map(|i| name(values.get(i).unwrap_or(&default)))
        .collect()
}

#[cfg(test)]
mod tests;
