//! The table of trajectories that a user wants packed.

use crate::data::Split;
use crate::data::trajectory::Item;
use crate::{Error, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// One row, with paths as they can be opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub trajectory: PathBuf,
    pub topology: PathBuf,
    pub item: Item,
}

/// Columns that every manifest may have; the label's name can be chosen.
const COLUMNS: [&str; 4] = ["trajectory", "topology", "group", "split"];

/// Reads a CSV file with the columns `trajectory` and `topology` (paths, relative to the
/// file's folder), `label` (or another name for it: a class or a number), and optionally
/// `group` and `split` (`train`, `validation`, `test` or nothing).
///
/// # Errors
/// No rows, missing or unknown columns, a label outside `classes`, an unknown split, the same
/// trajectory twice: each with its line.
pub fn read(path: &Path, label: &str, classes: &[String]) -> Result<Vec<Row>> {
    let bytes = std::fs::read(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::file(path, "no such file"),
        _ => Error::io(path, e),
    })?;
    parse(&bytes, label, classes, path)
}

fn parse(bytes: &[u8], label: &str, classes: &[String], path: &Path) -> Result<Vec<Row>> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(bytes);
    let malformed = |e: csv::Error| Error::file(path, e);
    let columns = Columns::find(reader.headers().map_err(malformed)?, label, path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut rows = Vec::new();
    let mut lines: HashMap<PathBuf, u64> = HashMap::new();
    for record in reader.records() {
        let record = record.map_err(malformed)?;
        let line = record.position().map_or(0, |p| p.line());
        let bad = |what: String| Error::file(path, format!("line {line}: {what}"));
        let row = columns.row(&record, folder, classes).map_err(bad)?;
        if let Some(first) = lines.insert(row.trajectory.clone(), line) {
            let what = format!("trajectory {} is also on line {first}", row.item.name);
            return Err(Error::file(path, format!("line {line}: {what}")));
        }
        rows.push(row);
    }
    if rows.is_empty() {
        return Err(Error::file(
            path,
            "no trajectories: the manifest has no rows",
        ));
    }
    Ok(rows)
}

/// Places of the columns.
struct Columns {
    trajectory: usize,
    topology: usize,
    label: Option<usize>,
    group: Option<usize>,
    split: Option<usize>,
}

impl Columns {
    fn find(header: &csv::StringRecord, label: &str, path: &Path) -> Result<Self> {
        let known = |name: &str| COLUMNS.contains(&name) || name == label;
        if let Some(unknown) = header.iter().find(|h| !known(h)) {
            let near = COLUMNS
                .into_iter()
                .chain([label])
                .max_by(|a, b| {
                    let near = |c: &str| strsim::jaro_winkler(unknown, c);
                    near(a).total_cmp(&near(b))
                })
                .filter(|c| strsim::jaro_winkler(unknown, c) > 0.8)
                .map_or(String::new(), |c| format!("did you mean {c:?}? "));
            return Err(Error::file(
                path,
                format!(
                    "unknown column {unknown:?}; {near}The columns are trajectory, topology, \
                     {label}, group and split; --label names another label column"
                ),
            ));
        }
        let find = |name: &str| header.iter().position(|h| h == name);
        let needed =
            |name: &str| find(name).ok_or_else(|| Error::file(path, format!("no column {name:?}")));
        if label != "label" {
            needed(label)?;
        }
        Ok(Self {
            trajectory: needed("trajectory")?,
            topology: needed("topology")?,
            label: find(label),
            group: find("group"),
            split: find("split"),
        })
    }

    fn row(
        &self,
        record: &csv::StringRecord,
        folder: &Path,
        classes: &[String],
    ) -> std::result::Result<Row, String> {
        let field = |at: usize, name: &str| {
            let text = record.get(at).filter(|t| !t.is_empty());
            text.ok_or_else(|| format!("{name} is empty"))
        };
        let optional =
            |at: Option<usize>| at.and_then(|at| record.get(at)).filter(|t| !t.is_empty());
        let name = field(self.trajectory, "trajectory")?;
        let topology = field(self.topology, "topology")?;
        let label = self.label.map(|at| field(at, "label")).transpose()?;
        if let Some(label) = label
            && !classes.is_empty()
            && !classes.iter().any(|c| c == label)
        {
            let classes = classes.join(", ");
            return Err(format!("label {label:?} is none of --classes {classes}"));
        }
        let split = optional(self.split)
            .map(|s| s.parse::<Split>().map_err(|e| e.to_string()))
            .transpose()?;
        Ok(Row {
            trajectory: folder.join(name),
            topology: folder.join(topology),
            item: Item {
                name: name.into(),
                label: label.map(str::to_string),
                group: optional(self.group).unwrap_or(name).into(),
                split,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Row>> {
        parse(text.as_bytes(), "label", &[], Path::new("runs/m.csv"))
    }

    #[test]
    fn rows_are_understood() {
        let rows =
            read("topology, trajectory ,label,split\na.pdb,x/a.xtc,0,test\n/b.pdb,b.xtc,1.5,\n")
                .unwrap();
        assert_eq!(rows[0].trajectory, Path::new("runs/x/a.xtc"));
        assert_eq!(rows[1].topology, Path::new("/b.pdb"));
        assert_eq!(rows[0].item.split, Some(Split::Test));
        assert_eq!(rows[1].item.split, None);
        assert_eq!(rows[1].item.label.as_deref(), Some("1.5"));
        assert_eq!(rows[0].item.group, "x/a.xtc");
        let rows = read("trajectory,topology,group\na.xtc,a.pdb,g\n").unwrap();
        assert_eq!(
            (rows[0].item.group.as_str(), &rows[0].item.label),
            ("g", &None)
        );
    }

    #[test]
    fn mistakes_are_named() {
        let refused = |text: &str, what: &str| {
            let message = super::tests::read(text).unwrap_err().to_string();
            assert!(
                message.starts_with("runs/m.csv: ") && message.contains(what),
                "{message}"
            );
        };
        refused("", "no column \"trajectory\"");
        refused("trajectory,topology\n", "no rows");
        refused("trajectory,topolgy\na,b\n", "did you mean \"topology\"?");
        refused("trajectory\na\n", "no column \"topology\"");
        refused(
            "trajectory,topology,label\na,b,\n",
            "line 2: label is empty",
        );
        refused(
            "trajectory,topology,split\na,b,tset\n",
            "line 2: split \"tset\"",
        );
        refused("trajectory,topology\na,b\n\na,b\n", "is also on line 2");
        refused("trajectory,topology\na,b,c\n", "2 fields");
        let classes = ["x".to_string()];
        let text = b"trajectory,topology,label\na,b,y\n";
        let error = parse(text, "label", &classes, Path::new("m.csv")).unwrap_err();
        assert!(
            error.to_string().contains("\"y\" is none of --classes x"),
            "{error}"
        );
        let error = parse(text, "temperature", &[], Path::new("m.csv")).unwrap_err();
        assert!(
            error.to_string().contains("unknown column \"label\""),
            "{error}"
        );
    }
}
