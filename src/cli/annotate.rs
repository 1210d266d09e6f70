//! `holosig annotate`.

use super::places::{Overwrite, ending};
use crate::comm::World;
use crate::data::prepare::{StructureFile, list_files};
use crate::data::structure::b_factors::{self, Field};
use crate::data::structure::id_of;
use crate::downstream::annotate::Annotation;
use crate::print::count;
use crate::store::{Content, Output, write_bytes};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// What every file that this command writes has in its first line.
const MARK: &str = "of residues by holosig annotate";

/// Endings of single files that are copies of structures.
const COPIES: [&str; 4] = ["pdb", "ent", "cif", "mmcif"];

/// The ending of ChimeraX's files of attributes.
const ATTRIBUTE: &str = "defattr";

#[derive(clap::Args)]
pub struct Args {
    /// Embedding file of `holosig embed`, or a table (.csv, .tsv) with the columns structure, chain,
    /// number, perhaps icode, and the value
    values: PathBuf,
    /// What to write: pc1, pc2, ... (principal components of the invariants), cosine_loss (of `embed
    /// --reconstruct`), invariants_0, ..., or a column of the table
    #[arg(long, value_name = "NAME", default_value = "pc1")]
    value: String,
    /// The structure files that the values are of (PDB or mmCIF, gzipped or not), folders of them, or
    /// @LIST; a .defattr file needs none
    #[arg(long, value_name = "FILE|FOLDER|@LIST", num_args = 1..)]
    structures: Vec<PathBuf>,
    /// Folder for copies of the structures with the values as B-factors; or, of one structure, a file
    /// .pdb or .cif, or .defattr: an attribute of residues for ChimeraX
    #[arg(long, value_name = "DIR|FILE")]
    out: PathBuf,
    /// Write files .defattr into the folder instead of copies
    #[arg(long)]
    defattr: bool,
    /// Map the smallest value to 0 and the largest to 100
    #[arg(long)]
    rescale: bool,
    /// B-factor of atoms whose residue has no value
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    missing: f64,
    #[command(flatten)]
    overwrite: Overwrite,
}

/// One file to write.
struct Item {
    /// Id of the structure.
    id: String,
    /// The structure to copy; none for an attribute.
    from: Option<PathBuf>,
    to: PathBuf,
}

pub fn run(args: Args) -> Result<()> {
    World::run(|world| {
        let plan = world.on_root(|| {
            let mut values = Annotation::read(&args.values, &args.value)?;
            if args.rescale {
                values.rescale();
            }
            let items = args.plan(&values)?;
            Ok((values, items))
        })?;
        let outputs = || {
            let content = Content::marked("a file of holosig annotate", MARK);
            let items = plan.iter().flat_map(|(_, items)| items);
            Ok(items.map(|i| Output::new(&i.to, content.clone())).collect())
        };
        let copied = plan.iter().flat_map(|(_, items)| items);
        let copied = copied.filter_map(|i| i.from.as_deref());
        let inputs: Vec<&Path> = copied.chain([args.values.as_path()]).collect();
        let _claim = args.overwrite.claim(world, outputs, &inputs)?;
        world.on_root(|| match &plan {
            Some((values, items)) => args.write(values, items),
            None => Ok(()),
        })?;
        Ok(())
    })
}

impl Args {
    /// The ending of a single file; `None` where the output is a folder.
    fn file_ending(&self) -> Result<Option<String>> {
        let own = self.out.extension().unwrap_or_default();
        let own = own.to_string_lossy().to_ascii_lowercase();
        if self.out.is_dir() || (own.is_empty() && !self.out.is_file()) {
            return Ok(None);
        }
        let endings = [&COPIES[..], &[ATTRIBUTE]].concat();
        ending(&self.out, &endings, "or name a folder, without an ending")?;
        Ok(Some(own))
    }

    fn plan(&self, values: &Annotation) -> Result<Vec<Item>> {
        let single = self.file_ending()?;
        let attribute = self.defattr || single.as_deref() == Some(ATTRIBUTE);
        let files = match self.structures.is_empty() {
            true if !attribute => {
                let what =
                    "--structures FILES are needed to make copies of (a .defattr file needs none)";
                return Err(Error::input(what));
            }
            true => Vec::new(),
            false => list_files(&self.structures, None)?,
        };
        if values.is_unnamed() && files.len() > 1 {
            let what = format!(
                "no column structure to tell {} apart",
                count(files.len(), "file")
            );
            return Err(Error::file(&self.values, what));
        }
        let items = match files.is_empty() {
            true => self.of_values(values),
            false => self.of_files(values, &files, attribute),
        };
        match (&items[..], single) {
            ([], _) => Err(Error::file(
                &self.values,
                format!(
                    "no values of the structures given; it has those of {}",
                    shortened(values.structures())
                ),
            )),
            ([item], Some(_)) => Ok(vec![Item {
                id: item.id.clone(),
                from: item.from.clone(),
                to: self.out.clone(),
            }]),
            (several, Some(_)) => Err(Error::file(
                &self.out,
                format!(
                    "one file for {}; name a folder, or one of them with --structures",
                    count(several.len(), "structure")
                ),
            )),
            (_, None) => Ok(items),
        }
    }

    /// Attributes of all structures that there are values of.
    fn of_values(&self, values: &Annotation) -> Vec<Item> {
        let item = |id: &str| Item {
            id: id.to_string(),
            from: None,
            to: self.out.join(format!("{}.{ATTRIBUTE}", file_stem(id))),
        };
        values.structures().map(item).collect()
    }

    /// What is made of the files that there are values of.
    fn of_files(&self, values: &Annotation, files: &[StructureFile], attribute: bool) -> Vec<Item> {
        let mut items = Vec::new();
        for file in files {
            let ids = [file.id.clone(), id_of(&file.path)];
            let Some(id) = ids.into_iter().find(|id| values.has(id)) else {
                continue;
            };
            let name = file.path.file_name().unwrap_or_default().to_string_lossy();
            let name = match attribute {
                true => format!("{}.{ATTRIBUTE}", file_stem(&id)),
                false => name.strip_suffix(".gz").unwrap_or(&name).to_string(),
            };
            items.push(Item {
                id,
                from: (!attribute).then(|| file.path.clone()),
                to: self.out.join(name),
            });
        }
        items
    }

    fn write(&self, values: &Annotation, items: &[Item]) -> Result<()> {
        let [low, high] = values.range();
        let field = match items.iter().any(|i| i.from.is_some()) {
            true => Some(Field::of(&[low, high, self.missing])?),
            false => None,
        };
        let (mut filled, mut ambiguous) = (0, 0);
        for item in items {
            match (&item.from, field) {
                (Some(from), Some(field)) => {
                    let copy = self.copy(values, &item.id, from, field)?;
                    if copy.filled == 0 {
                        log::warn!("{}: none of its residues has a value", from.display());
                    }
                    filled += copy.filled;
                    ambiguous += copy.ambiguous;
                    write_bytes(&item.to, &copy.text)?;
                }
                _ => {
                    filled += values.of(&item.id).len();
                    let text = values.attribute(&item.id, &self.value, &self.remark());
                    write_bytes(&item.to, text.as_bytes())?;
                }
            }
        }
        if ambiguous > 0 {
            log::warn!(
                "{} that residues of a file share, but not as often as there are values: left out",
                count(ambiguous, "place")
            );
        }
        self.tell(values, items.len(), filled);
        Ok(())
    }

    fn copy(
        &self,
        values: &Annotation,
        id: &str,
        from: &Path,
        field: Field,
    ) -> Result<b_factors::Copy> {
        let (all, models) = (values.by_place(id), values.by_model(id));
        let of = |place: usize, number: i32| match models.get(&number) {
            None if place == 0 => all.as_ref(),
            own => own,
        };
        b_factors::copy(from, &self.remark(), of, field, self.missing)
    }

    fn remark(&self) -> String {
        format!("{} {MARK}", self.value)
    }

    fn tell(&self, values: &Annotation, files: usize, filled: usize) {
        let [low, high] = values.range();
        let explained = values
            .explained
            .map(|share| format!(", {:.1} % of the variance", 100.0 * share));
        crate::say!(
            "{}: {} of {} in {}, from {low:.4} to {high:.4}{}",
            self.out.display(),
            self.value,
            count(filled, "residue"),
            count(files, "file"),
            explained.unwrap_or_default()
        );
    }
}

/// An id as a part of a file's name: those of colliding files have folders, those of models a colon.
fn file_stem(id: &str) -> String {
    id.replace(['/', ':'], "_")
}

/// The first few of many.
fn shortened<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 5;
    let ids: Vec<&str> = ids.collect();
    let more = if ids.len() > SHOWN { ", ..." } else { "" };
    format!("{}{more}", ids[..ids.len().min(SHOWN)].join(", "))
}
