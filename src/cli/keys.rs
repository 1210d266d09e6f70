//! `holosig keys`.

use crate::print;
use crate::tasks::keys::{Key, keys, schema};
use crate::{Error, Result};
use std::fmt::Write as _;

#[derive(clap::Args)]
pub struct Args {
    /// The task whose jobs are meant [default: all]
    task: Option<String>,
    /// Print a JSON schema of job files, for editors
    #[arg(long)]
    schema: bool,
}

pub fn run(args: Args) -> Result<()> {
    let task = args.task.as_deref();
    if args.schema {
        let text = serde_json::to_string_pretty(&schema(task)?).map_err(Error::internal)?;
        print::text(&(text + "\n"));
        return Ok(());
    }
    print::text(&page(&keys(task)?));
    Ok(())
}

/// Sections that jobs of all tasks have.
const COMMON: [&str; 2] = ["train", "loss"];

/// The reference in Markdown. What all tasks have is told once, with the defaults of the first.
fn page(tasks: &[(&str, Vec<Key>)]) -> String {
    let mut out = String::from(
        "# Keys of jobs\n\nWhat `holosig keys` prints; `holosig keys TASK` has one task, and \
         `holosig keys --schema` is a JSON schema\nfor editors. `[]` stands for one of a list, \
         `TERM` for a term of the loss.\n",
    );
    for section in COMMON {
        if let Some((_, keys)) = tasks.first() {
            let of_section = |k: &&Key| head(&k.name) == section;
            heading(&mut out, &format!("`[{section}]`, all tasks"));
            rows(&mut out, keys.iter().filter(of_section), tasks);
        }
    }
    for (task, keys) in tasks {
        let own = |k: &&Key| !COMMON.contains(&head(&k.name));
        heading(&mut out, &format!("`task = \"{task}\"`"));
        let of_all = |k: &&Key| own(k) && k.choice.is_none();
        rows(&mut out, keys.iter().filter(of_all), &[]);
        let mut choices: Vec<&String> = keys.iter().filter_map(|k| k.choice.as_ref()).collect();
        choices.dedup();
        for choice in choices {
            heading(&mut out, &format!("`{choice}`"));
            let of_choice = |k: &&Key| k.choice.as_ref() == Some(choice);
            rows(&mut out, keys.iter().filter(of_choice), &[]);
        }
    }
    out
}

fn head(name: &str) -> &str {
    name.split('.').next().unwrap_or_default()
}

fn heading(out: &mut String, words: &str) {
    *out += &format!("\n## {words}\n\n| key | value | default | meaning |\n|---|---|---|---|\n");
}

/// A row for each key; `tasks` are those whose defaults may differ.
fn rows<'a>(out: &mut String, keys: impl Iterator<Item = &'a Key>, tasks: &[(&str, Vec<Key>)]) {
    let cell = |text: &str| text.replace('|', "\\|");
    for key in keys {
        let of_task = |(task, keys): &(&str, Vec<Key>)| -> Option<(String, String)> {
            let here = keys.iter().find(|k| k.name == key.name)?;
            Some((task.to_string(), here.default.clone()?))
        };
        let defaults: Vec<(String, String)> = tasks.iter().filter_map(of_task).collect();
        let default = match (&key.default, key.required) {
            (_, true) => "required".into(),
            (None, _) => String::new(),
            (Some(default), _) if defaults.iter().all(|(_, d)| d == default) => {
                format!("`{default}`")
            }
            _ => {
                let told = defaults.iter().map(|(task, d)| format!("`{d}` ({task})"));
                told.collect::<Vec<_>>().join(", ")
            }
        };
        let (kind, meaning) = (cell(&key.kind), cell(&key.meaning));
        // Writing to a string cannot fail.
        let _ = writeln!(out, "| `{}` | {kind} | {default} | {meaning} |", key.name);
    }
}
