//! The keys of job files, from the types that read them: a reference in words, and a JSON schema
//! for editors.

use super::{TASKS, TaskKind};
use crate::train::{Settings, TermSchedule};
use crate::{Error, Result};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// A key of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Full name, e.g. `train.adam.beta1`; `[]` stands for one of a list, `TERM` for any name.
    pub name: String,
    /// What its value is, in words.
    pub kind: String,
    /// As TOML writes it; none where it may be absent or must be given.
    pub default: Option<String>,
    /// A job must have it.
    pub required: bool,
    /// One line, units included.
    pub meaning: String,
    /// The choice that the key belongs to, e.g. `model.network = "schnet"`; none for a key of all.
    pub choice: Option<String>,
}

/// The schema of a type, without references.
pub fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value();
    if let Some(fields) = schema.as_object_mut() {
        fields.retain(|name, _| !matches!(name.as_str(), "$schema" | "title"));
    }
    schema
}

/// The schema of a job of a task.
pub(super) fn schema_of_job<K: TaskKind>() -> Value {
    let mut job = schema_of::<K::Sections>();
    let mut train = schema_of::<Settings>();
    for (name, value) in [("batch", K::BATCH), ("slices", K::SLICES as u64)] {
        train["properties"][name]["default"] = json!(value);
    }
    if let Some(required) = train["required"].as_array_mut() {
        required.retain(|name| name != "batch" && name != "slices");
    }
    let loss = json!({
        "type": "object",
        "description": "The weight of each term of the loss.",
        "additionalProperties": {
            "description": "The weight of the term of that name: a number, or a schedule.",
            "anyOf": [{ "type": "number" }, schema_of::<TermSchedule>()],
        },
    });
    let name = json!({ "const": K::name(), "description": "What is trained." });
    for (section, schema) in [("task", name), ("train", train), ("loss", loss)] {
        job["properties"][section] = schema;
    }
    if let Some(required) = job["required"].as_array_mut() {
        required.push(json!("task"));
    }
    job
}

/// A JSON schema of job files, of `task` or of all tasks.
///
/// # Errors
/// A task that there is not.
pub fn schema(task: Option<&str>) -> Result<Value> {
    let jobs: Vec<Value> = jobs(task)?.into_iter().map(|(_, job)| job).collect();
    Ok(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A job of holosig",
        "oneOf": jobs,
    }))
}

/// The keys of the jobs of `task`, or of all tasks, task by task.
///
/// # Errors
/// A task that there is not.
pub fn keys(task: Option<&str>) -> Result<Vec<(&'static str, Vec<Key>)>> {
    let of_job = |(name, job): (&'static str, Value)| {
        let mut keys = Vec::new();
        collect("", &job, None, &mut keys);
        (name, keys)
    };
    Ok(jobs(task)?.into_iter().map(of_job).collect())
}

/// Names and schemas of tasks.
fn jobs(task: Option<&str>) -> Result<Vec<(&'static str, Value)>> {
    let named = TASKS.iter().map(|entry| ((entry.name)(), entry));
    let wanted = named.filter(|(name, _)| task.is_none_or(|task| task == *name));
    let jobs: Vec<(&str, Value)> = wanted
        .map(|(name, entry)| (name, (entry.schema)()))
        .collect();
    match jobs.is_empty() {
        false => Ok(jobs),
        true => {
            let known: Vec<&str> = TASKS.iter().map(|entry| (entry.name)()).collect();
            Err(Error::input(format!(
                "no keys of a task {:?}; known are {}",
                task.unwrap_or_default(),
                known.join(", ")
            )))
        }
    }
}

/// Adds the keys of an object of a choice, those of objects in it included.
fn collect(prefix: &str, object: &Value, choice: Option<&str>, out: &mut Vec<Key>) {
    let required = object["required"].as_array();
    let is_required = |name: &str| required.is_some_and(|r| r.iter().any(|n| n == name));
    let named = object["properties"].as_object().into_iter().flatten();
    // What chooses between forms of the object is told once, not with each form.
    // The comment on a form of one key is the key's.
    let only = object["properties"]
        .as_object()
        .is_some_and(|p| p.len() == 1);
    for (name, value) in named.filter(|(_, value)| choice.is_none() || !is_tag(value)) {
        let mut key = Key::new(format!("{prefix}{name}"), value, choice);
        if let Some(comment) = object["description"].as_str()
            && key.meaning.is_empty()
            && only
        {
            key.meaning = words(comment);
        }
        key.collect(value, is_required(name), out);
    }
    if let Some(any) = object.get("additionalProperties").filter(|v| v.is_object()) {
        Key::new(format!("{prefix}TERM"), any, choice).collect(any, false, out);
    }
    collect_forms(prefix, object, out);
}

/// Adds the keys of the forms that an object may have: the tag of the form, and the keys of each.
fn collect_forms(prefix: &str, object: &Value, out: &mut Vec<Key>) {
    let forms: Vec<(&String, &Value, &Value)> = object["oneOf"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|form| tag(form).map(|(name, value)| (name, value, form)))
        .collect();
    let Some((name, ..)) = forms.first() else {
        return;
    };
    let kinds: Vec<String> = forms
        .iter()
        .filter_map(|(_, v, _)| written(&v["const"]))
        .collect();
    out.push(Key {
        name: format!("{prefix}{name}"),
        kind: kinds.join(" or "),
        default: None,
        required: true,
        meaning: "Which one; each has keys of its own.".into(),
        choice: None,
    });
    for ((_, _, form), kind) in forms.iter().zip(&kinds) {
        let choice = format!("{prefix}{name} = {kind}");
        collect(prefix, form, Some(&choice), out);
    }
}

impl Key {
    fn new(name: String, value: &Value, choice: Option<&str>) -> Self {
        let first = alternatives(value).first().map(|v| &v["description"]);
        let meaning = value["description"].as_str();
        let meaning = meaning.or_else(|| first?.as_str());
        Self {
            name,
            kind: kind(value),
            default: None,
            required: false,
            meaning: words(meaning.unwrap_or_default()),
            choice: choice.map(str::to_string),
        }
    }

    /// Adds the key, or the keys of the section that it is.
    fn collect(self, value: &Value, required: bool, out: &mut Vec<Key>) {
        let values = alternatives(value);
        let sections: Vec<&&Value> = values.iter().filter(|v| is_section(v)).collect();
        let item = values.iter().find_map(|v| v.get("items"));
        let item = item.filter(|items| is_section(items));
        let (name, choice) = (self.name.clone(), self.choice.clone());
        // A section says what is in it; a key that may be one says so too.
        if sections.len() < values.len() || item.is_some() {
            out.push(Key {
                default: value.get("default").and_then(written),
                required,
                ..self
            });
        }
        for section in sections {
            collect(&format!("{name}."), section, choice.as_deref(), out);
        }
        if let Some(item) = item {
            collect(&format!("{name}[]."), item, choice.as_deref(), out);
        }
    }
}

/// Whether a value is a section of the job, with keys of its own; a form with a tag is written in
/// one line.
fn is_section(value: &Value) -> bool {
    let any = &value["additionalProperties"];
    let fields = value["properties"].is_object() || (any.is_object() && !is_table(value));
    fields && (tag(value).is_none() || value["oneOf"].is_array())
}

/// Whether a value is a table of numbers under any names, which is written in one line.
fn is_table(value: &Value) -> bool {
    value["additionalProperties"]["type"] == "number"
}

/// The key that says which form an object has, e.g. `kind`, and its value.
fn tag(value: &Value) -> Option<(&String, &Value)> {
    value["properties"]
        .as_object()?
        .iter()
        .find(|(_, v)| is_tag(v))
}

fn is_tag(value: &Value) -> bool {
    value.get("const").is_some()
}

/// What a value may be, but for nothing.
fn alternatives(value: &Value) -> Vec<&Value> {
    let listed = ["anyOf", "oneOf"]
        .iter()
        .find_map(|name| value[*name].as_array());
    // An object with forms is one value.
    let Some(listed) = listed.filter(|_| !value["properties"].is_object()) else {
        return vec![value];
    };
    let some = listed.iter().filter(|v| v["type"] != "null");
    some.flat_map(alternatives).collect()
}

/// What a value is, in words.
fn kind(value: &Value) -> String {
    let mut kinds = Vec::new();
    for value in alternatives(value) {
        if let Some(word) = value.get("const").and_then(written) {
            kinds.push(word);
        } else if let Some(listed) = value["enum"].as_array() {
            kinds.extend(listed.iter().filter_map(written));
        } else if !is_section(value) && tag(value).is_some() {
            kinds.push(form(value));
        } else if let Some(items) = value.get("items") {
            kinds.push(format!("list of {}", kind(items)));
        } else {
            kinds.push(plain_kind(value).into());
        }
    }
    kinds.dedup();
    kinds.join(" or ")
}

/// An object with a tag, as TOML writes it in a line.
fn form(value: &Value) -> String {
    let fields = value["properties"].as_object().into_iter().flatten();
    let fields: Vec<String> = fields
        .map(|(name, v)| format!("{name} = {}", kind(v)))
        .collect();
    format!("{{ {} }}", fields.join(", "))
}

fn plain_kind(value: &Value) -> &'static str {
    let kinds = match &value["type"] {
        Value::Array(kinds) => kinds.first().and_then(Value::as_str),
        kind => kind.as_str(),
    };
    match kinds {
        Some("integer") => "whole number",
        Some("number") => "number",
        Some("string") => "text",
        Some("boolean") => "true or false",
        Some("object") if is_table(value) => "{ NAME = number }",
        Some("object") => "section",
        _ => "value",
    }
}

/// A value as TOML writes it.
fn written(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(format!("{text:?}")),
        Value::Number(number) if number.is_f64() => Some(format!("{:?}", number.as_f64()?)),
        Value::Object(fields) => Some(inline(fields)),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().filter_map(written).collect();
            Some(format!("[{}]", items.join(", ")))
        }
        other => Some(other.to_string()),
    }
}

fn inline(fields: &Map<String, Value>) -> String {
    let field = |(name, value): (&String, &Value)| Some(format!("{name} = {}", written(value)?));
    let fields: Vec<String> = fields.iter().filter_map(field).collect();
    format!("{{ {} }}", fields.join(", "))
}

/// The first paragraph of a comment as one line, without its links into the code.
fn words(comment: &str) -> String {
    let paragraph = comment.split("\n\n").next().unwrap_or_default();
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut out = String::new();
    let mut rest = line.as_str();
    while let Some((before, link)) = rest.split_once("[`") {
        let Some((target, after)) = link.split_once("`]") else {
            break;
        };
        match (before.strip_suffix(" ("), after.strip_prefix(')')) {
            (Some(before), Some(after)) => {
                out += before;
                rest = after;
            }
            _ => {
                out += before;
                out += target;
                rest = after;
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_become_lines() {
        let comment = "One\nline ([`crate::x`]) of [`Y`].\n\nMore.";
        assert_eq!(words(comment), "One line of Y.");
        assert_eq!(words("plain [a] `b`"), "plain [a] `b`");
    }

    #[test]
    fn values_are_written_as_in_a_job() {
        let value = json!({"a": 1e-8, "b": [1, "x"], "c": null, "d": true});
        let told = written(&value).unwrap_or_default();
        for part in ["a = 1e-8", "b = [1, \"x\"]", "d = true"] {
            assert!(told.contains(part), "{told}");
        }
        assert!(!told.contains('c'));
    }
}
