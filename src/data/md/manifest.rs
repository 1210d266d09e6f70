//! The table of trajectories that a user wants packed.

use crate::data::Split;
use crate::data::table::{self, Table};
use crate::data::trajectory::Item;
use crate::{Error, Result};
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One row, with paths as they can be opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub trajectory: PathBuf,
    pub topology: PathBuf,
    /// The frames that are meant; `None` for all.
    pub frames: Option<Range<usize>>,
    pub item: Item,
}

/// Columns that every manifest may have; the label's name can be chosen.
const COLUMNS: [&str; 5] = ["trajectory", "topology", "frames", "group", "split"];

/// Reads a CSV file with the columns `trajectory` and `topology` (paths, relative to the
/// file's folder), `label` (or another name for it: a class or a number), and optionally
/// `frames` (`FROM:TO`, counting from 0, without the frame TO; all where nothing is said), `group`
/// (the trajectory where nothing is said) and `split` (`train`, `validation`, `test` or nothing).
///
/// # Errors
/// No rows, missing or unknown columns, a label outside `classes`, an unknown split, frames that
/// are no range, the same frames of a trajectory twice: each with its line.
pub fn read(path: &Path, label: &str, classes: &[String]) -> Result<Vec<Row>> {
    let table = Table::read(path)?;
    let columns = Columns::find(&table, label)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut rows = Vec::new();
    let mut lines = HashMap::new();
    for line in table.rows() {
        let row = columns.row(line, folder, classes)?;
        let frames = (row.trajectory.clone(), row.frames.clone());
        if let Some(first) = lines.insert(frames, line.line()) {
            let name = &row.item.name;
            return Err(line.error(format!("trajectory {name} is also on line {first}")));
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
    frames: Option<usize>,
    group: Option<usize>,
    split: Option<usize>,
}

impl Columns {
    fn find(table: &Table, label: &str) -> Result<Self> {
        let known = || COLUMNS.into_iter().chain([label]);
        // An index that pandas writes has no name.
        let strange = |h: &&String| !h.is_empty() && !known().any(|c| c.eq_ignore_ascii_case(h));
        if let Some(unknown) = table.columns().iter().find(strange) {
            let near = |c: &str| strsim::jaro_winkler(unknown, c);
            let near = known()
                .max_by(|a, b| near(a).total_cmp(&near(b)))
                .filter(|c| near(c) > 0.8)
                .map_or(String::new(), |c| format!("did you mean {c:?}? "));
            return Err(table.in_header(format!(
                "unknown column {unknown:?}; {near}the columns are trajectory, topology, {label}, \
                 frames, group and split; --label names another label column"
            )));
        }
        let label = match label {
            "label" => table.find(label)?,
            chosen => Some(table.column(chosen)?),
        };
        Ok(Self {
            trajectory: table.column("trajectory")?,
            topology: table.column("topology")?,
            label,
            frames: table.find("frames")?,
            group: table.find("group")?,
            split: table.find("split")?,
        })
    }

    fn row(&self, row: table::Row, folder: &Path, classes: &[String]) -> Result<Row> {
        let name = row.filled(self.trajectory)?;
        let topology = row.filled(self.topology)?;
        let label = self.label.map(|at| row.filled(at)).transpose()?;
        if let Some(label) = label
            && !classes.is_empty()
            && !classes.iter().any(|c| c == label)
        {
            let classes = classes.join(", ");
            let what = format!("label {label:?} is none of --classes {classes}");
            return Err(row.error(what));
        }
        let frames = row.optional(self.frames);
        let shown = frames.map_or(name.into(), |frames| format!("{name}[{frames}]"));
        let frames = frames.map(|f| range(f).map_err(|e| row.error(e)));
        let split = row.optional(self.split);
        let split = split.map(|s| s.parse::<Split>().map_err(|e| row.error(e)));
        Ok(Row {
            trajectory: folder.join(name),
            topology: folder.join(topology),
            frames: frames.transpose()?,
            item: Item {
                name: shown,
                label: label.map(str::to_string),
                group: row.optional(self.group).unwrap_or(name).into(),
                split: split.transpose()?,
            },
        })
    }
}

/// The frames that `FROM:TO` means.
fn range(text: &str) -> std::result::Result<Range<usize>, String> {
    let number = |n: &str| n.trim().parse::<usize>().ok();
    text.split_once(':')
        .and_then(|(from, to)| Some(number(from)?..number(to)?))
        .filter(|frames| !frames.is_empty())
        .ok_or_else(|| {
            format!("frames {text:?}: FROM:TO with whole numbers is needed, as in 0:100 for the first 100")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a table that lies at `runs/m.csv` in a folder, whose name is left out of the rows.
    fn read_as(text: &str, label: &str, classes: &[String]) -> Result<Vec<Row>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs/m.csv");
        std::fs::create_dir(folder.path().join("runs")).unwrap();
        std::fs::write(&path, text).unwrap();
        let mut rows = super::read(&path, label, classes)?;
        for row in &mut rows {
            for path in [&mut row.trajectory, &mut row.topology] {
                if let Ok(inner) = path.strip_prefix(folder.path()) {
                    *path = inner.to_path_buf();
                }
            }
        }
        Ok(rows)
    }

    fn read(text: &str) -> Result<Vec<Row>> {
        read_as(text, "label", &[])
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
    fn windows_of_a_trajectory_are_rows_of_one_group() {
        let text =
            "trajectory,topology,frames\na.xtc,a.pdb,0:50\na.xtc,a.pdb,25:75\na.xtc,a.pdb,\n";
        let rows = read(text).unwrap();
        let frames: Vec<_> = rows.iter().map(|r| r.frames.clone()).collect();
        assert_eq!(frames, [Some(0..50), Some(25..75), None]);
        assert_eq!(rows[1].item.name, "a.xtc[25:75]");
        assert!(rows.iter().all(|r| r.item.group == "a.xtc"));
    }

    #[test]
    fn an_index_without_a_name_says_nothing() {
        let rows = read(",trajectory,topology\n0,a.xtc,a.pdb\n1,b.xtc,a.pdb\n").unwrap();
        assert_eq!(rows.len(), 2);
    }

    #[test]
    fn mistakes_are_named() {
        let refused = |text: &str, what: &str| {
            let message = read(text).unwrap_err().to_string();
            assert!(
                message.contains("runs/m.csv: ") && message.contains(what),
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
        refused(
            "trajectory,topology\na,b\n\na,b\n",
            "line 4: trajectory a is also on line 2",
        );
        refused(
            "trajectory,topology\na,b,c\n",
            "line 2: 3 columns where the first line has 2",
        );
        for frames in ["5", "5:5", "9:5", "-1:5", "a:b"] {
            refused(
                &format!("trajectory,topology,frames\na,b,{frames}\n"),
                &format!("line 2: frames {frames:?}: FROM:TO"),
            );
        }
        refused(
            "trajectory,topology,frames\na,b,0:5\na,b,0:5\n",
            "line 3: trajectory a[0:5] is also on line 2",
        );
        let classes = ["x".to_string()];
        let text = "trajectory,topology,label\na,b,y\n";
        let error = read_as(text, "label", &classes).unwrap_err();
        assert!(
            error.to_string().contains("\"y\" is none of --classes x"),
            "{error}"
        );
        let error = read_as(text, "temperature", &[]).unwrap_err();
        assert!(
            error.to_string().contains("unknown column \"label\""),
            "{error}"
        );
    }
}
