//! The temporal part: coarse paths of some frames to one vector per clip.
//!
//! Shapes: B clips, T frames, K beads, d features, c = K d channels, S segments, H hidden.

use super::clip::Times;
use super::config::{DeepSignatureConfig, HEADS, Method};
use super::dropout::Dropout;
use super::space_time::SpaceTime;
use crate::models::layers::{Direction, LayerNorm, Linear, Lstm};
use crate::models::{Init, Parameters, Scope};
use crate::ops::signature::{Basis, log_signature};
use crate::words;
use candle_core::{D, Result, Tensor};
use candle_nn::ops::softmax;

/// What becomes of the coarse paths; intermediate results are kept for whoever looks inside.
pub struct Summary {
    /// `[B, H]`
    pub features: Tensor,
    /// Log-signatures of segments, `[B, S, terms]`, and what follows them: Deep Signature only.
    pub segments: Option<Segments>,
}

/// See [`Summary`].
pub struct Segments {
    /// `[B, S, terms]`
    pub log_signatures: Tensor,
    /// `[B, S, lstm]`
    pub lstm: Tensor,
    /// `[B, S, lstm]`
    pub normalised: Tensor,
}

/// A coarse path `[T, K, d]` and where its segments are.
#[derive(Clone, Copy)]
pub(super) struct Path<'a> {
    pub values: &'a Tensor,
    pub times: &'a Times,
}

pub(super) enum Temporal {
    Signature(Signature),
    Lstm(FrameLstm),
    Transformer(Transformer),
    SpaceTime(SpaceTime),
}

impl Temporal {
    /// The temporal part for nodes of `features` features.
    pub fn new(b: &mut Scope, config: &DeepSignatureConfig, features: usize) -> Self {
        match config.method {
            Method::DeepSignature => Temporal::Signature(Signature::new(b, config, features)),
            Method::GraphTransformer => Temporal::Transformer(Transformer::new(
                b,
                config.clusters * features,
                config.hidden,
            )),
            Method::SpaceTimeTransformer => {
                let (beads, hidden) = (config.clusters, config.hidden);
                Temporal::SpaceTime(SpaceTime::new(b, features, beads, hidden))
            }
            method => {
                let lstm = FrameLstm::new(b, features, config.hidden);
                if matches!(method, Method::Head | Method::Tail) {
                    lstm.ahead.of_one_step(b);
                    lstm.back.of_one_step(b);
                }
                Temporal::Lstm(lstm)
            }
        }
    }

    /// T may differ between clips.
    pub fn forward(&self, paths: &[Path], dropout: &Dropout, p: &Parameters) -> Result<Summary> {
        let plain = |features| Summary {
            features,
            segments: None,
        };
        match self {
            Temporal::Signature(s) => s.forward(paths, dropout, p),
            Temporal::Lstm(l) => Ok(plain(each(paths, |x, _| l.forward(x, p))?)),
            Temporal::Transformer(t) => {
                Ok(plain(each(paths, |x, i| t.forward(x, &dropout.of(i), p))?))
            }
            Temporal::SpaceTime(t) => {
                Ok(plain(each(paths, |x, i| t.forward(x, &dropout.of(i), p))?))
            }
        }
    }
}

/// One vector per clip, clip by clip: their lengths may differ.
fn each(paths: &[Path], f: impl Fn(&Tensor, usize) -> Result<Tensor>) -> Result<Tensor> {
    let rows = paths.iter().enumerate().map(|(i, path)| f(path.values, i));
    Tensor::cat(&rows.collect::<Result<Vec<_>>>()?, 0)
}

/// Log-signatures of segments, an LSTM over the segments, its last output.
pub(super) struct Signature {
    depth: usize,
    project: Option<Linear>,
    lstm: Lstm,
    norm: LayerNorm,
    linear: Linear,
    dropout: f64,
}

impl Signature {
    fn new(b: &mut Scope, config: &DeepSignatureConfig, features: usize) -> Self {
        let all = config.clusters * features;
        let channels = config.projection.unwrap_or(all);
        // The model has checked the number of terms.
        let terms = words::lyndon_terms(channels, config.depth).unwrap_or(0);
        let project = config
            .projection
            .map(|to| Linear::without_bias(&mut b.scope("projection"), all, to, Init::fan_in(all)));
        let direction = Direction::Forward;
        let lstm = Lstm::new(&mut b.scope("lstm_layer"), terms, config.lstm, direction);
        if config.segments == 1 {
            lstm.of_one_step(b);
        }
        Self {
            depth: config.depth,
            project,
            lstm,
            norm: LayerNorm::new(&mut b.scope("norm"), config.lstm),
            linear: Linear::pytorch(&mut b.scope("linear.0"), config.lstm, config.hidden),
            dropout: config.dropout,
        }
    }

    fn forward(&self, paths: &[Path], dropout: &Dropout, p: &Parameters) -> Result<Summary> {
        let longest = paths
            .iter()
            .flat_map(|path| &path.times.segments)
            .map(Vec::len)
            .max();
        let pieces: Vec<Tensor> = paths
            .iter()
            .map(|Path { values, times }| {
                let path = values.flatten_from(1)?;
                let path = match &self.project {
                    Some(project) => project.forward(&path, p)?,
                    None => path,
                };
                cut(&path, times, longest.unwrap_or(0))
            })
            .collect::<Result<_>>()?;
        let segments = Tensor::cat(&pieces, 0)?;
        let log = log_signature(&segments, self.depth, Basis::Words)?;
        let log = log.reshape((paths.len(), (), log.dim(1)?))?;
        let lstm = self.lstm.forward(&log, p)?;
        let normalised = self.norm.forward(&lstm, p)?;
        let last = normalised
            .narrow(1, normalised.dim(1)? - 1, 1)?
            .squeeze(1)?;
        let features = self.linear.forward(&last.contiguous()?, p)?.tanh()?;
        Ok(Summary {
            features: dropout.apply(&features, self.dropout, 0)?,
            segments: Some(Segments {
                log_signatures: log,
                lstm,
                normalised,
            }),
        })
    }
}

/// The segments of a path `[T, c]`, `[S, longest, c]`: shorter ones stay at their end, which
/// changes no signature.
fn cut(path: &Tensor, times: &Times, longest: usize) -> Result<Tensor> {
    let last = path.dim(0)? as u32 - 1;
    let mut points = Vec::with_capacity(times.segments.len() * longest);
    for segment in &times.segments {
        let end = segment.last().copied().unwrap_or((0, 0.0));
        let rest = std::iter::repeat_n(end, longest - segment.len());
        points.extend(segment.iter().copied().chain(rest));
    }
    let select = |offset: u32| {
        let index: Vec<u32> = points.iter().map(|(t, _)| (t + offset).min(last)).collect();
        path.index_select(&Tensor::new(index, path.device())?, 0)
    };
    let mut out = select(0)?;
    if points.iter().any(|(_, f)| *f > 0.0) {
        let fractions: Vec<f64> = points.iter().map(|(_, f)| *f).collect();
        let fractions = Tensor::new(fractions, path.device())?.to_dtype(path.dtype())?;
        let step = (select(1)? - &out)?.broadcast_mul(&fractions.unsqueeze(1)?)?;
        out = (out + step)?;
    }
    out.reshape((times.segments.len(), longest, ()))
}

/// A bidirectional LSTM over the frames of every bead; averages over beads.
pub(super) struct FrameLstm {
    ahead: Lstm,
    back: Lstm,
    linear: Linear,
}

impl FrameLstm {
    fn new(b: &mut Scope, features: usize, hidden: usize) -> Self {
        let mut lstm = |direction| {
            let b = &mut b.scope("bi_lstm_layer");
            Lstm::new(b, features, hidden, direction)
        };
        Self {
            ahead: lstm(Direction::Forward),
            back: lstm(Direction::Reverse),
            linear: Linear::pytorch(&mut b.scope("linear"), 2 * hidden, hidden),
        }
    }

    /// `[T, K, d]` to `[1, H]`.
    fn forward(&self, path: &Tensor, p: &Parameters) -> Result<Tensor> {
        let x = path.transpose(0, 1)?.contiguous()?;
        let end = |out: Tensor, t: usize| out.narrow(1, t, 1)?.squeeze(1);
        let last = end(self.ahead.forward(&x, p)?, x.dim(1)? - 1)?;
        let first = end(self.back.forward(&x, p)?, 0)?;
        let out = self.linear.forward(&Tensor::cat(&[last, first], 1)?, p)?;
        out.mean_keepdim(0)
    }
}

/// Two encoder layers over the frames; averages over frames.
pub(super) struct Transformer {
    layers: Vec<EncoderLayer>,
    linear: Linear,
}

impl Transformer {
    const LAYERS: usize = 2;

    fn new(b: &mut Scope, width: usize, hidden: usize) -> Self {
        let layers = &mut b.scope("transformer.layers");
        let layer = |i| EncoderLayer::new(&mut layers.scope(i), width, Tensor::relu);
        Self {
            layers: (0..Self::LAYERS).map(layer).collect(),
            linear: Linear::pytorch(&mut b.scope("linear"), width, hidden),
        }
    }

    /// `[T, K, d]` to `[1, H]`.
    fn forward(&self, path: &Tensor, dropout: &Dropout, p: &Parameters) -> Result<Tensor> {
        let mut x = path.flatten_from(1)?.unsqueeze(0)?;
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x, dropout, 4 * i as u64, p)?;
        }
        self.linear.forward(&x.mean(1)?, p)
    }
}

/// Self-attention and a feed-forward net, each added to its input and normalised after.
pub(super) struct EncoderLayer {
    project: Linear,
    out: Linear,
    wide: Linear,
    narrow: Linear,
    norms: [LayerNorm; 2],
    activate: Activate,
}

/// What stands between the layers of a feed-forward net.
type Activate = fn(&Tensor) -> Result<Tensor>;

impl EncoderLayer {
    const INNER: usize = 1024;
    const DROPOUT: f64 = 0.1;

    pub fn new(b: &mut Scope, width: usize, activate: Activate) -> Self {
        let attention = &mut b.scope("self_attn");
        let all = 3 * width;
        let init = Init::glorot(width, all);
        let weight = attention.parameter("in_proj_weight", (all, width), init);
        let bias = attention.parameter("in_proj_bias", all, Init::Constant(0.0));
        Self {
            project: Linear::of(weight, Some(bias)),
            out: Linear::pytorch(&mut attention.scope("out_proj"), width, width),
            wide: Linear::pytorch(&mut b.scope("linear1"), width, Self::INNER),
            narrow: Linear::pytorch(&mut b.scope("linear2"), Self::INNER, width),
            activate,
            norms: ["norm1", "norm2"].map(|name| LayerNorm::new(&mut b.scope(name), width)),
        }
    }

    /// `[1, T, c]` to the same.
    pub fn forward(
        &self,
        x: &Tensor,
        dropout: &Dropout,
        site: u64,
        p: &Parameters,
    ) -> Result<Tensor> {
        let drop = |x: &Tensor, i: u64| dropout.apply(x, Self::DROPOUT, site + i);
        let attended = self.out.forward(&self.attend(x, &|x| drop(x, 0), p)?, p)?;
        let x = self.norms[0].forward(&(x + drop(&attended, 1)?)?, p)?;
        let inner = drop(&(self.activate)(&self.wide.forward(&x, p)?)?, 2)?;
        let y = self.narrow.forward(&inner, p)?;
        self.norms[1].forward(&(x + drop(&y, 3)?)?, p)
    }

    fn attend(
        &self,
        x: &Tensor,
        drop: &dyn Fn(&Tensor) -> Result<Tensor>,
        p: &Parameters,
    ) -> Result<Tensor> {
        let (batch, steps, width) = x.dims3()?;
        let head = width / HEADS;
        let all = self.project.forward(x, p)?;
        let part = |i: usize| {
            all.narrow(2, i * width, width)?
                .reshape((batch, steps, HEADS, head))?
                .transpose(1, 2)?
                .contiguous()
        };
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let scores = (q.matmul(&k.t()?)? / (head as f64).sqrt())?;
        let weights = drop(&softmax(&scores, D::Minus1)?)?;
        weights
            .matmul(&v)?
            .transpose(1, 2)?
            .contiguous()?
            .reshape((batch, steps, width))
    }
}
