//! What a run starts from: weights of another run, and the metrics that it is to watch.

use super::{Trainer, released};
use crate::comm::World;
use crate::data::Split;
use crate::models::Model;
use crate::train::average::Average;
use crate::train::checkpoint::Saved;
use crate::train::watch::{OBJECTIVE, Watch};
use crate::train::{RunFolder, Settings, Task};
use crate::{Error, Result};

/// The checkpoint of `train.init`, on every rank; `None` where it names none, or weights that are no
/// checkpoint. Collective.
///
/// # Errors
/// A file that is no whole checkpoint of the task or of one of its origins.
pub fn init<T: Task>(world: &World, settings: &Settings) -> Result<Option<Saved>> {
    let (Some(path), None) = (&settings.init, released::file(settings)) else {
        return Ok(None);
    };
    let saved = world.on_root(|| {
        let found = RunFolder::checkpoint_in(path).map_err(|what| Error::file(path, what))?;
        let saved = Saved::open(&found)?;
        let known = T::ORIGINS.iter().map(|origin| origin.task).chain([T::NAME]);
        match known.into_iter().any(|known| known == saved.task()) {
            true => Ok(saved),
            false => Err(Error::file(
                path,
                format!(
                    "train.init: its task is {:?}, the job's {:?}",
                    saved.task(),
                    T::NAME
                ),
            )),
        }
    })?;
    Saved::share(world, saved).map(Some)
}

impl<T: Task> Trainer<'_, T> {
    /// Begins with the parameters of `train.init`, if the job has it. Collective.
    pub(super) fn initialise(&mut self) -> Result<()> {
        let (world, settings) = (self.world, self.plan.settings);
        let Some(path) = &settings.init else {
            return Ok(());
        };
        let model = self.plan.task.model().parameters();
        let fresh = match init::<T>(world, settings)? {
            Some(saved) => {
                let names = model.entries().iter().chain(model.buffer_entries());
                let names = names.map(|e| e.name.as_str()).chain(saved.names());
                world.agree(settings.fresh.check_use("train.fresh", names))?;
                let origin = T::ORIGINS.iter().find(|origin| origin.task == saved.task());
                let apart = origin.map_or(&[][..], |origin| origin.apart);
                saved.load_but(world, model, &settings.fresh.with(apart))?
            }
            None => released::load::<T>(world, settings, model)?,
        };
        self.begin_average()?;
        let path = path.display();
        self.origin = Some(match fresh.is_empty() {
            true => path.to_string(),
            false => format!("{path}; drawn anew: {}", fresh.join(", ")),
        });
        Ok(())
    }

    /// The average begins with the present parameters.
    pub(super) fn begin_average(&mut self) -> Result<()> {
        let model = self.plan.task.model().parameters();
        let average = |decay| Average::new(decay, model, self.own.clone());
        self.average = self.plan.settings.average.map(average).transpose()?;
        Ok(())
    }

    /// Makes sure that the validation has the metrics that are watched.
    pub(super) fn check_watches(&self) -> Result<()> {
        let settings = self.plan.settings;
        let plateau = settings.watched_plateau();
        let watched = |watch: &Option<Watch>| watch.as_ref().map(|w| w.metric.clone());
        let best = (settings.best != OBJECTIVE).then(|| settings.best.clone());
        let watches = [
            ("train.plateau", "train.plateau.metric", watched(&plateau)),
            (
                "train.early_stop",
                "train.early_stop.metric",
                watched(&settings.early_stop),
            ),
            ("train.best", "train.best", best),
        ];
        let watches = watches
            .into_iter()
            .filter_map(|(s, key, m)| Some((s, key, m?)));
        for (section, key, metric) in watches {
            let task = self.plan.task;
            if task.samples(Split::Validation) == 0 {
                return Err(Error::input(format!(
                    "{section}: there are no validation samples"
                )));
            }
            if metric == OBJECTIVE {
                continue;
            }
            let first = task.batch(Split::Validation, &[0])?;
            let metrics = task.model().metrics(&first)?;
            let names: Vec<&str> = metrics.iter().map(|m| m.0).collect();
            if !names.contains(&metric.as_str()) {
                return Err(Error::input(format!(
                    "{key} = {metric:?}: the validation has {OBJECTIVE}, {}",
                    names.join(", ")
                )));
            }
        }
        Ok(())
    }

    /// Rows of the table of a run that only some runs have.
    pub(super) fn particulars(&self) -> Vec<(&'static str, String)> {
        let mut rows = Vec::new();
        rows.extend(self.origin.clone().map(|origin| ("starts from", origin)));
        let (trained, all) = (
            self.groups.trained(),
            self.plan.task.model().parameters().len(),
        );
        if trained < all {
            let told = format!(
                "{trained} parameters; the other {} are frozen",
                all - trained
            );
            rows.push(("trained", told));
        }
        rows
    }
}
