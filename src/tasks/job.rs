//! A job of any task: reading, training, trying.

use super::{Purpose, TaskKind};
use crate::comm::{DeviceKind, World};
use crate::data::Split;
use crate::models::Model;
use crate::store::Header;
use crate::train::Task;
use crate::train::{
    Calendar, Costs, LossSchedule, Outcome, Plan, RunFolder, Settings, Start, TermSchedule, costs,
    init, job, outcome, probe, train,
};
use crate::{Error, Result, files};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Bytes of a dataset that is not read as a whole only to check a job.
const LARGE: u64 = 4 << 30;

/// A job file, understood.
#[derive(Debug)]
pub struct Job<K: TaskKind> {
    /// `data.dataset`, the dataset file.
    pub dataset: PathBuf,
    /// Sections that the task has of its own.
    pub sections: K::Sections,
    /// The `[train]` section.
    pub train: Settings,
    /// The `[loss]` section.
    pub loss: LossSchedule,
    renamed: Vec<String>,
}

/// Sections of every job.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Common {
    train: Settings,
    loss: BTreeMap<String, TermSchedule>,
}

/// [`Common`] as it is saved.
#[derive(Serialize)]
struct Resolved<'a> {
    train: &'a Settings,
    loss: &'a LossSchedule,
}

impl<K: TaskKind> Job<K> {
    /// Understands a table whose keys have their names of today; `path` is the file to blame.
    ///
    /// # Errors
    /// Those of [`job::from_table`]; settings out of range; a term that the model does not have.
    pub fn from_table(path: &Path, mut table: Table, renamed: Vec<String>) -> Result<Self> {
        table.remove("task");
        let mut common = Table::new();
        for name in ["train", "loss"] {
            let section = table.remove(name);
            common.insert(
                name.into(),
                section.unwrap_or_else(|| Value::Table(Table::new())),
            );
        }
        let dataset = table.get("data").and_then(|data| data.get("dataset"));
        let dataset = dataset.and_then(Value::as_str).map(PathBuf::from);
        let sections: K::Sections = job::from_table(path, table, &["task", "train", "loss"])?;
        let terms = K::terms(&sections);
        if let Some(Value::Table(train)) = common.get_mut("train") {
            let mut default = |name: &str, value: u64| {
                train.entry(name).or_insert(Value::Integer(value as i64));
            };
            default("batch", K::BATCH);
            default("slices", K::SLICES as u64);
        }
        default_weights(&mut common, &terms);
        let Common {
            mut train,
            mut loss,
        } = job::from_table(path, common, &[])?;
        train.complete();
        let known = terms
            .iter()
            .filter_map(|(name, _)| loss.remove_entry(*name));
        let known: LossSchedule = known.collect();
        if let Some(name) = loss.keys().next() {
            let names: Vec<&str> = terms.iter().map(|term| term.0).collect();
            let what = format!(
                "loss.{name}: the model has no such term; its terms are {}",
                names.join(", ")
            );
            return Err(Error::file(path, what));
        }
        let no_dataset = || Error::internal("a job without data.dataset");
        let job = Self {
            dataset: dataset.ok_or_else(no_dataset)?,
            sections,
            train,
            loss: known,
            renamed,
        };
        job.check().map_err(|e| e.in_file(path))?;
        Ok(job)
    }

    fn check(&self) -> Result<()> {
        self.train.check()?;
        self.loss.check()?;
        K::check(&self.sections)
    }

    fn plan<'a, 't>(
        &'a self,
        task: &'a K::Task<'t>,
        text: String,
        folder: &'a RunFolder,
    ) -> Plan<'a, K::Task<'t>> {
        Plan {
            task,
            settings: &self.train,
            loss: &self.loss,
            job: text,
            folder,
        }
    }

    /// Builds the model and tries the job's plan out.
    fn tried<R>(
        &self,
        world: &World,
        folder: &RunFolder,
        with: impl FnOnce(&Plan<K::Task<'_>>) -> Result<R>,
    ) -> Result<R> {
        world.agree(self.train.check_ranks(world.size()))?;
        let place = world.agree(world.place(self.train.device))?;
        let input = K::open(world, self)?;
        let task = K::build(world, self, &input, &place, Purpose::Trial)?;
        place.announce(world);
        with(&self.plan(&task, String::new(), folder))
    }
}

/// Gives every term without a weight its default, and writes `TERM = WEIGHT` out as a table.
fn default_weights(job: &mut Table, terms: &[(&str, f64)]) {
    weights_as_tables(job);
    let Some(Value::Table(loss)) = job.get_mut("loss") else {
        return;
    };
    for (name, weight) in terms {
        let term = loss
            .entry(*name)
            .or_insert_with(|| Value::Table(Table::new()));
        if let Some(term) = term.as_table_mut() {
            term.entry("weight").or_insert(Value::Float(*weight));
        }
    }
}

/// `TERM = WEIGHT` becomes `TERM = { weight = WEIGHT }`, so that a key of the term can be set.
pub(super) fn weights_as_tables(job: &mut Table) {
    let Some(Value::Table(loss)) = job.get_mut("loss") else {
        return;
    };
    for (_, term) in loss.iter_mut() {
        if term.is_float() || term.is_integer() {
            let weight = std::mem::replace(term, Value::Table(Table::new()));
            *term = Value::Table(Table::from_iter([("weight".to_string(), weight)]));
        }
    }
}

/// A job of whichever task.
pub trait AnyJob: Send + Sync {
    /// The word that names the task.
    fn task(&self) -> &'static str;

    /// The `[train]` section.
    fn train(&self) -> &Settings;

    /// The dataset file.
    fn dataset(&self) -> &Path;

    /// Keys of the file or of overrides that have another name today, in words.
    fn renamed(&self) -> &[String];

    /// The job with every default filled in.
    ///
    /// # Errors
    /// A value that TOML cannot hold.
    fn to_text(&self) -> Result<String>;

    /// Opens the data, builds the model, trains it in `folder`, and tests the best model of the
    /// validation once. Collective.
    ///
    /// # Errors
    /// Those of the job, the dataset and [`train`].
    fn run(&self, world: &World, folder: &RunFolder, start: Start) -> Result<()>;

    /// Makes sure, on a machine that is not the one to compute on, that the job can begin on so
    /// many ranks: its dataset is opened and its model is built, but nothing is computed. Of a
    /// dataset larger than 4 GiB only the header is read.
    ///
    /// # Errors
    /// As [`AnyJob::run`].
    fn check_start(&self, ranks: usize) -> Result<()>;

    /// Prints what [`AnyJob::run`] would take, and writes nothing. Collective.
    ///
    /// # Errors
    /// As [`AnyJob::run`].
    fn dry_run(&self, world: &World, folder: &RunFolder) -> Result<()>;

    /// Measures what the job costs each rank, and writes nothing. Collective.
    ///
    /// # Errors
    /// As [`AnyJob::run`].
    fn costs(&self, world: &World) -> Result<Costs>;

    /// Number of folds of the data.
    ///
    /// # Errors
    /// As [`TaskKind::folds`].
    fn folds(&self) -> Result<usize>;
}

impl<K: TaskKind> AnyJob for Job<K> {
    fn task(&self) -> &'static str {
        K::name()
    }

    fn train(&self) -> &Settings {
        &self.train
    }

    fn dataset(&self) -> &Path {
        &self.dataset
    }

    fn renamed(&self) -> &[String] {
        &self.renamed
    }

    fn to_text(&self) -> Result<String> {
        let common = Resolved {
            train: &self.train,
            loss: &self.loss,
        };
        Ok(format!(
            "task = {:?}\n\n{}\n{}",
            K::name(),
            job::to_text(&self.sections)?,
            job::to_text(&common)?
        ))
    }

    fn run(&self, world: &World, folder: &RunFolder, start: Start) -> Result<()> {
        // Before the work starts: a look at the data may take minutes.
        world.agree(self.train.check_ranks(world.size()))?;
        let text = world.agree(self.to_text())?;
        let place = world.agree(world.place(self.train.device))?;
        let checkpoint = folder.open(world, start)?;
        let input = K::open(world, self)?;
        // What a model knows of its data comes with its weights.
        let init = match checkpoint {
            None => init::<K::Task<'static>>(world, &self.train)?,
            Some(_) => None,
        };
        let purpose = Purpose::Training(checkpoint.as_ref().or(init.as_ref()));
        let task = K::build(world, self, &input, &place, purpose)?;
        place.announce(world);
        let plan = self.plan(&task, text, folder);
        let had_scores = world.any(world.is_root() && folder.scores().exists());
        train(world, &plan, checkpoint.as_ref())?;
        // Not those of a run that went on: they have another name by now.
        if had_scores && world.any(world.is_root() && folder.scores().exists()) {
            return Ok(());
        }
        let step = outcome::choose(world, folder, task.model().parameters())?;
        let test = K::test(world, self, &task, folder)?;
        Outcome::write(world, folder, step, self.dataset(), test)
    }

    fn check_start(&self, ranks: usize) -> Result<()> {
        self.train.check_ranks(ranks)?;
        let path = self.dataset();
        Header::read(path)?;
        if files::check(path)?.len() > LARGE {
            log::info!("{}: large; only its header is checked", path.display());
            return Ok(());
        }
        let world = World::quiet();
        let place = world.place(DeviceKind::Cpu)?;
        let input = K::open(&world, self)?;
        let task = K::build(&world, self, &input, &place, Purpose::Trial)?;
        Calendar::new(task.samples(Split::Train), &self.train).map(drop)
    }

    fn dry_run(&self, world: &World, folder: &RunFolder) -> Result<()> {
        self.tried(world, folder, |plan| probe(world, plan))
    }

    fn costs(&self, world: &World) -> Result<Costs> {
        let folder = RunFolder::new("");
        self.tried(world, &folder, |plan| costs(world, plan))
    }

    fn folds(&self) -> Result<usize> {
        K::folds(self)
    }
}
