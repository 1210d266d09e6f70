//! What a finished run is worth: `scores.json`, the last file that a run writes.

use super::checkpoint::Saved;
use super::{RunFolder, metrics};
use crate::comm::World;
use crate::models::Parameters;
use crate::store::{Header, write_bytes};
use crate::{Error, Result, files};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;

/// Scores of the model that a run ends with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Steps that the model had been trained for when it was chosen.
    pub step: u64,
    /// The objective and its terms in validation; empty where nothing validates.
    pub validation: Map<String, Value>,
    /// Scores on the test samples, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Value>,
    /// XXH3-128 of the dataset file.
    pub dataset: String,
}

/// Fields of a validation's record that are no scores.
const OTHER: [&str; 4] = ["event", "step", "time", "epoch"];

/// Loads what is to be tested into `model`: the parameters that validated best, the last ones
/// where nothing validates. Returns their step. Collective.
///
/// # Errors
/// A checkpoint that cannot be read or is of another model.
pub fn choose(world: &World, folder: &RunFolder, model: &Parameters) -> Result<u64> {
    let path = match folder.best() {
        best if world.any(best.exists()) => best,
        _ => folder.last(),
    };
    let chosen = Saved::share(world, world.on_root(|| Saved::open(&path))?)?;
    chosen.load_into(world, model)?;
    Ok(chosen.progress().map_or(0, |position| position.step))
}

impl Outcome {
    /// Writes the scores of the model of `step`. Collective; `test` is taken from rank 0.
    ///
    /// # Errors
    /// Files that cannot be read or written.
    pub fn write(
        world: &World,
        folder: &RunFolder,
        step: u64,
        dataset: &Path,
        test: Option<Value>,
    ) -> Result<()> {
        let write = || {
            let records = metrics::read(&folder.metrics())?;
            let validated = records
                .into_iter()
                .rfind(|r| r["event"] == "validation" && r["step"] == step);
            let mut validation = match validated {
                Some(Value::Object(fields)) => fields,
                _ => Map::new(),
            };
            validation.retain(|name, _| !OTHER.contains(&name.as_str()));
            let outcome = Outcome {
                step,
                validation,
                test,
                dataset: Header::read(dataset)?.digest.to_string(),
            };
            let text = serde_json::to_string_pretty(&outcome).map_err(Error::internal)?;
            write_bytes(&folder.scores(), (text + "\n").as_bytes())
        };
        world.on_root(write).map(drop)
    }

    /// The scores of a run that came to its end; `None` for any other.
    ///
    /// # Errors
    /// A file that cannot be read or is none of ours.
    pub fn read(folder: &RunFolder) -> Result<Option<Self>> {
        let path = folder.scores();
        match files::read_text_if_there(&path)? {
            None => Ok(None),
            Some(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|e| Error::file(&path, format!("not the scores of a run: {e}"))),
        }
    }

    /// Every number with its name: `validation.objective`, `test.accuracy`,
    /// `test.classes.NAME.f1`.
    pub fn numbers(&self) -> Vec<(String, f64)> {
        let mut out = Vec::new();
        flatten(
            "validation",
            &Value::Object(self.validation.clone()),
            &mut out,
        );
        if let Some(test) = &self.test {
            flatten("test", test, &mut out);
        }
        out
    }
}

fn flatten(name: &str, value: &Value, out: &mut Vec<(String, f64)>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                flatten(&format!("{name}.{key}"), value, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                let key = item["class"].as_str().unwrap_or("?");
                flatten(&format!("{name}.{key}"), item, out);
            }
        }
        other => out.extend(other.as_f64().map(|v| (name.to_string(), v))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_have_full_names() {
        let outcome = Outcome {
            step: 7,
            validation: Map::from_iter([("objective".to_string(), json!(0.5))]),
            test: Some(json!({
                "accuracy": 0.75,
                "auroc": null,
                "classes": [{"class": "a b", "f1": 1.0}, {"class": "c", "f1": 0.25}],
            })),
            dataset: String::new(),
        };
        let expected = [
            ("validation.objective", 0.5),
            ("test.accuracy", 0.75),
            ("test.classes.a b.f1", 1.0),
            ("test.classes.c.f1", 0.25),
        ];
        assert_eq!(
            outcome.numbers(),
            expected.map(|(name, value)| (name.to_string(), value))
        );
    }
}
