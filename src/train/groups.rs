//! Parameters by name: which are frozen, which have a learning rate or a decay of their own, which
//! are not taken from a checkpoint.

use super::Settings;
use crate::models::{Entry, Parameters};
use crate::{Error, Result};
use glob::Pattern;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Patterns of names: `*` stands for any characters, so that `encoder.*` is all of the encoder.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Patterns(Vec<String>);

impl Patterns {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These and more.
    pub fn with(&self, more: &[&str]) -> Self {
        let more = more.iter().map(|text| text.to_string());
        Self(self.0.iter().cloned().chain(more).collect())
    }

    /// Whether one of them fits a name.
    pub fn fit(&self, name: &str) -> bool {
        let fits = |text: &String| Pattern::new(text).is_ok_and(|p| p.matches(name));
        self.0.iter().any(fits)
    }

    /// # Errors
    /// A text that is no pattern; `key` is the setting to blame.
    pub fn check(&self, key: &str) -> Result<()> {
        for text in &self.0 {
            Pattern::new(text)
                .map_err(|e| Error::input(format!("{key}: {text:?} is no pattern: {}", e.msg)))?;
        }
        Ok(())
    }

    /// Refuses a pattern that fits none of `names`; `key` is the setting to blame.
    ///
    /// # Errors
    /// The first such pattern, and how names begin.
    pub fn check_use<'a>(
        &self,
        key: &str,
        names: impl Iterator<Item = &'a str> + Clone,
    ) -> Result<()> {
        let idle = |text: &&String| {
            let pattern = Pattern::new(text).unwrap_or_default();
            !names.clone().any(|name| pattern.matches(name))
        };
        let Some(text) = self.0.iter().find(idle) else {
            return Ok(());
        };
        let mut heads: Vec<&str> = Vec::new();
        for head in names.filter_map(|n| n.split('.').next()) {
            if !heads.contains(&head) {
                heads.push(head);
            }
        }
        heads.truncate(12);
        Err(Error::input(format!(
            "{key}: no parameter fits {text:?}; their names begin with {}",
            heads.join(", ")
        )))
    }
}

/// A group of parameters (`[[train.groups]]`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Patterns of their names.
    pub parameters: Patterns,
    /// In the place of `train.learning_rate`; the schedule is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// In the place of `train.adam.weight_decay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
}

/// Parameters that follow each other and are updated alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Stretch {
    /// In the flat order.
    pub range: Range<usize>,
    /// Factor on the learning rate of a step.
    pub rate: f64,
    pub weight_decay: f64,
}

impl Stretch {
    /// What of it lies in a range; an empty range in there if nothing does.
    pub fn within(&self, own: &Range<usize>) -> Range<usize> {
        let start = self.range.start.clamp(own.start, own.end);
        start..self.range.end.clamp(start, own.end.max(start))
    }
}

/// How the parameters of a model are trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Groups {
    /// What is updated, in flat order; rates before the schedule.
    pub stretches: Vec<Stretch>,
    /// Buffers that stay as they are, in their flat order.
    pub frozen_buffers: Vec<Range<usize>>,
}

impl Groups {
    /// # Errors
    /// A pattern that fits nothing, a parameter in two groups, a model that is all frozen.
    pub fn new(settings: &Settings, model: &Parameters) -> Result<Self> {
        let names = model.entries().iter().map(|e| e.name.as_str());
        let buffers = model.buffer_entries().iter().map(|e| e.name.as_str());
        let all = names.clone().chain(buffers);
        settings.freeze.check_use("train.freeze", all)?;
        for (i, group) in settings.groups.iter().enumerate() {
            let key = format!("train.groups[{i}].parameters");
            group.parameters.check_use(&key, names.clone())?;
        }
        let mut stretches: Vec<Stretch> = Vec::new();
        for entry in model.entries() {
            if settings.freeze.fit(&entry.name) || entry.is_empty() {
                continue;
            }
            let stretch = stretch(settings, entry)?;
            match stretches.last_mut() {
                Some(last) if continues(last, &stretch) => last.range.end = stretch.range.end,
                _ => stretches.push(stretch),
            }
        }
        if stretches.is_empty() && !model.is_empty() {
            return Err(Error::input(
                "train.freeze: every parameter is frozen; nothing is left to train",
            ));
        }
        let frozen = |e: &&Entry| settings.freeze.fit(&e.name);
        let place = |e: &Entry| e.offset..e.offset + e.len();
        Ok(Self {
            stretches,
            frozen_buffers: model
                .buffer_entries()
                .iter()
                .filter(frozen)
                .map(place)
                .collect(),
        })
    }

    /// Number of parameters that are updated.
    pub fn trained(&self) -> usize {
        self.stretches.iter().map(|s| s.range.len()).sum()
    }

    /// [`Parameters::update_buffers`] of those that are not frozen.
    ///
    /// # Errors
    /// Statistics of another length.
    pub fn update_buffers(&self, model: &Parameters, statistics: &[f32]) -> Result<()> {
        let before = model.buffers();
        model.update_buffers(statistics)?;
        if self.frozen_buffers.is_empty() {
            return Ok(());
        }
        let mut now = model.buffers();
        for range in &self.frozen_buffers {
            now[range.clone()].copy_from_slice(&before[range.clone()]);
        }
        model.set_buffers(&now)
    }
}

/// Whether `next` follows `last` and is updated like it.
fn continues(last: &Stretch, next: &Stretch) -> bool {
    let alike = |s: &Stretch| (s.rate, s.weight_decay);
    last.range.end == next.range.start && alike(last) == alike(next)
}

/// A parameter by itself.
fn stretch(settings: &Settings, entry: &Entry) -> Result<Stretch> {
    let here = |(_, g): &(usize, &Group)| g.parameters.fit(&entry.name);
    let mut groups = settings.groups.iter().enumerate().filter(here);
    let group = groups.next();
    if let (Some((first, _)), Some((second, _))) = (group, groups.next()) {
        return Err(Error::input(format!(
            "train.groups: {} is in two groups, [{first}] and [{second}]",
            entry.name
        )));
    }
    let group = group.map(|(_, group)| group);
    let rate = group.and_then(|g| g.learning_rate);
    let decay = group.and_then(|g| g.weight_decay);
    Ok(Stretch {
        range: entry.offset..entry.offset + entry.len(),
        rate: rate.unwrap_or(settings.learning_rate),
        weight_decay: decay.unwrap_or(settings.adam.weight_decay),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Init, ParametersBuilder};
    use candle_core::{DType, Device};

    fn groups(text: &str) -> Result<Groups> {
        let mut b = ParametersBuilder::default();
        let mut root = b.root();
        for (name, len) in [("encoder.w", 4), ("encoder.b", 2), ("head.w", 3)] {
            root.parameter(name, len, Init::Constant(0.0));
        }
        root.buffer("encoder.mean", 2, 0.0);
        root.buffer("head.mean", 1, 0.0);
        let model = b.build(1, DType::F32, &Device::Cpu, 0.5)?;
        let text = format!("batch = 1\nslices = 1\nlearning_rate = 0.5\n{text}");
        let settings: Settings = toml::from_str(&text).map_err(Error::internal)?;
        settings.check()?;
        let groups = Groups::new(&settings, &model)?;
        groups.update_buffers(&model, &[1.0; 3])?;
        let moved: Vec<bool> = model.buffers().iter().map(|&b| b != 0.0).collect();
        let frozen = |i| groups.frozen_buffers.iter().any(|r| r.contains(&i));
        assert!((0..3).all(|i| moved[i] != frozen(i)));
        Ok(groups)
    }

    #[test]
    fn names_choose_what_is_trained_and_how_fast() {
        let stretch = |range: Range<usize>, rate, weight_decay| Stretch {
            range,
            rate,
            weight_decay,
        };
        let all = groups("").unwrap();
        assert_eq!(all.stretches, [stretch(0..9, 0.5, 1e-5)]);
        assert_eq!((all.trained(), all.frozen_buffers), (9, vec![]));
        let head = groups("freeze = [\"encoder.*\"]").unwrap();
        assert_eq!(head.stretches, [stretch(6..9, 0.5, 1e-5)]);
        assert_eq!(head.frozen_buffers, vec![0..2]);
        let two = "[[groups]]\nparameters = [\"*.b\"]\nweight_decay = 0.0\n\
            [[groups]]\nparameters = [\"head.*\"]\nlearning_rate = 2.0";
        let wanted = [
            stretch(0..4, 0.5, 1e-5),
            stretch(4..6, 0.5, 0.0),
            stretch(6..9, 2.0, 1e-5),
        ];
        assert_eq!(groups(two).unwrap().stretches, wanted);
        assert_eq!(wanted[1].within(&(5..9)), 5..6);
        assert!(wanted[0].within(&(5..9)).is_empty() && wanted[2].within(&(1..5)).is_empty());
    }

    #[test]
    fn mistakes_are_named() {
        let told = |text| groups(text).unwrap_err().to_string();
        let unknown = told("freeze = [\"decoder.*\"]");
        assert!(
            unknown.contains("train.freeze: no parameter fits \"decoder.*\"; their names begin with encoder, head"),
            "{unknown}"
        );
        assert!(told("freeze = [\"*\"]").contains("nothing is left to train"));
        assert!(told("freeze = [\"a[\"]").contains("\"a[\" is no pattern"));
        let twice = "[[groups]]\nparameters = [\"encoder.*\"]\n[[groups]]\nparameters = [\"*.b\"]";
        assert!(told(twice).contains("encoder.b is in two groups, [0] and [1]"));
    }
}
