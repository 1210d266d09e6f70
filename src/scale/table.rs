//! The model's answers as rows: for a table, for JSON, for plots.

use super::machine::{Compute, Machine};
use super::model::{Checkpoints, Curve, Epoch, Scaling, Step, checkpoints, curve, epoch};
use super::reduction::{Algorithm, Fabric};
use serde::Serialize;

/// What is asked of the model.
#[derive(Debug, Clone)]
pub struct Question {
    /// Numbers of ranks, ascending.
    pub ranks: Vec<usize>,
    /// Sizes of datasets.
    pub samples: Vec<f64>,
    pub algorithm: Algorithm,
}

/// Everything about one number of ranks. Seconds.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub machine: String,
    pub scaling: Scaling,
    pub algorithm: &'static str,
    #[serde(flatten)]
    pub step: Step,
    pub seconds: f64,
    pub samples_per_second: f64,
    pub efficiency: f64,
    pub sums: Sums,
    /// One per size of dataset; absent where it does not fit and reading is not known.
    pub epochs: Vec<Option<Epoch>>,
    pub checkpoints: Checkpoints,
}

/// The sum over the ranks by each algorithm, seconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Sums {
    pub tree: f64,
    pub tree_16_bit: f64,
    pub ring: f64,
    pub hierarchical: f64,
}

impl Sums {
    fn on(fabric: &Fabric, job: &Compute) -> Self {
        let slices = (fabric.nodes() * fabric.per_node()).max(job.slices as usize);
        let slices = slices.next_power_of_two() as u64;
        let sum = |algorithm| fabric.sum(algorithm, job.values, slices);
        Self {
            tree: sum(Algorithm::Tree),
            tree_16_bit: sum(Algorithm::Tree16),
            ring: sum(Algorithm::Ring),
            hierarchical: sum(Algorithm::Hierarchical),
        }
    }
}

/// One curve of a machine and its rows.
#[derive(Debug, Clone)]
pub struct Answer {
    pub curve: Curve,
    pub rows: Vec<Row>,
}

pub fn answer(machine: &Machine, job: &Compute, scaling: Scaling, asked: &Question) -> Answer {
    let curve = curve(machine, job, scaling, &asked.ranks, asked.algorithm);
    let row = |step: &Step| Row {
        machine: machine.name.clone(),
        scaling,
        algorithm: asked.algorithm.name(),
        step: *step,
        seconds: step.seconds(),
        samples_per_second: step.samples_per_second(),
        efficiency: curve.efficiency(step),
        sums: Sums::on(&Fabric::new(machine, step.ranks), job),
        epochs: asked
            .samples
            .iter()
            .map(|&n| epoch(machine, job, step, n))
            .collect(),
        checkpoints: checkpoints(machine, job, step.nodes),
    };
    let rows = curve.steps.iter().map(row).collect();
    Answer { curve, rows }
}

impl Answer {
    /// The table, with a head and what follows from it.
    pub fn text(&self, job: &Compute, samples: &[f64]) -> String {
        let mut lines = vec![self.title(job), head(samples)];
        lines.extend(self.rows.iter().map(line));
        lines.extend(self.verdict(job));
        lines.join("\n")
    }

    fn title(&self, job: &Compute) -> String {
        match self.curve.scaling {
            Scaling::Strong => format!(
                "strong scaling: steps of {} samples in {} slices",
                job.batch, job.slices
            ),
            Scaling::Weak => format!(
                "weak scaling: {} samples in {} slices per rank and step",
                job.batch, job.slices
            ),
        }
    }

    fn verdict(&self, job: &Compute) -> Vec<String> {
        let last = self.rows.last().map_or(1, |r| r.step.ranks);
        let mut lines = vec![match self.curve.knee() {
            Some(knee) => format!("knee: {knee} ranks, beyond which efficiency falls below 0.5"),
            None => format!("knee: none up to {last} ranks (efficiency stays above 0.5)"),
        }];
        if self.curve.fastest() < last {
            lines.push(format!(
                "fastest: {} ranks; more make a step slower",
                self.curve.fastest()
            ));
        }
        if let Some(ranks) = self.curve.too_few_slices {
            lines.push(format!(
                "{ranks} ranks need {ranks} slices; the job has {} (train.slices)",
                job.slices
            ));
        }
        let unfit = |r: &Row| r.epochs.iter().flatten().any(|e| !e.fits);
        if self.rows.iter().any(unfit) {
            lines.push(
                "* more than a node's memory holds once per rank, as the loader needs it: \
                 time with a loader that reads each sample from the file system"
                    .into(),
            );
        }
        lines
    }
}

fn head(samples: &[f64]) -> String {
    let mut line = format!(
        "{:>6} {:>6} {:>10} {:>5} {:>11} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "ranks",
        "nodes",
        "step ms",
        "eff.",
        "samples/s",
        "compute",
        "wait",
        "reduce",
        "update",
        "log",
        "ring",
        "hier.",
        "16 bit"
    );
    for n in samples {
        line += &format!(" {:>10}", format!("{n:.1e}"));
    }
    line
}

fn line(row: &Row) -> String {
    let ms = |seconds: f64| match 1e3 * seconds {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 1.0 => format!("{v:.1}"),
        v => format!("{v:.3}"),
    };
    let s = &row.step;
    let mut line = format!(
        "{:>6} {:>6} {:>10} {:>5.2} {:>11.0} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        s.ranks,
        s.nodes,
        ms(row.seconds),
        row.efficiency,
        row.samples_per_second,
        ms(s.compute),
        ms(s.wait),
        ms(s.reduce),
        ms(s.update),
        ms(s.log),
        ms(row.sums.ring),
        ms(row.sums.hierarchical),
        ms(row.sums.tree_16_bit),
    );
    for epoch in &row.epochs {
        let told = match epoch {
            Some(e) if e.fits => duration(e.seconds),
            Some(e) => format!("{}*", duration(e.seconds)),
            None => "no room".into(),
        };
        line += &format!(" {told:>10}");
    }
    line
}

/// What checkpoints cost on some numbers of ranks.
pub fn checkpoint_lines(rows: &[Row]) -> Vec<String> {
    let Some(first) = rows.first().map(|r| r.checkpoints) else {
        return Vec::new();
    };
    let mut lines = vec![format!(
        "a checkpoint: {:.0} MB, training stands still for {}, writing takes {} in the background",
        first.bytes / 1e6,
        duration(first.stall),
        duration(first.write)
    )];
    for same in rows.chunk_by(|a, b| a.step.nodes == b.step.nodes) {
        let row = &same[0];
        let Some((every, lost)) = row.checkpoints.every.zip(row.checkpoints.lost) else {
            continue;
        };
        lines.push(format!(
            "  {:>5} nodes: best every {}, {:.3} % of the time lost to stalls and failures",
            row.step.nodes,
            duration(every),
            100.0 * lost
        ));
    }
    lines
}

/// A time in the unit that suits it.
pub fn duration(seconds: f64) -> String {
    const MINUTE: f64 = 60.0;
    const HOUR: f64 = 60.0 * MINUTE;
    const DAY: f64 = 24.0 * HOUR;
    const YEAR: f64 = 365.25 * DAY;
    match seconds {
        s if s < 1.0 => format!("{:.1} ms", 1e3 * s),
        s if s < 2.0 * MINUTE => format!("{s:.1} s"),
        s if s < 2.0 * HOUR => format!("{:.1} min", s / MINUTE),
        s if s < 2.0 * DAY => format!("{:.1} h", s / HOUR),
        s if s < 2.0 * YEAR => format!("{:.0} d", s / DAY),
        s => format!("{:.0} years", s / YEAR),
    }
}

/// `1..4096`: the ends and the powers of two between them; or a single number.
///
/// # Errors
/// What is wrong with the text.
pub fn ranks(text: &str) -> Result<Vec<usize>, String> {
    let number = |t: &str| {
        let n = t.trim().parse::<usize>().ok().filter(|&n| n > 0);
        n.ok_or_else(|| format!("{t:?} is no number of ranks; 1..4096 or 64 is"))
    };
    let Some((low, high)) = text.split_once("..") else {
        return Ok(vec![number(text)?]);
    };
    let (low, high) = (number(low)?, number(high)?);
    if low > high {
        return Err(format!("{low}..{high} is empty"));
    }
    let powers = (0..usize::BITS).map(|k| 1usize << k);
    let mut all: Vec<usize> = powers.filter(|p| (low..=high).contains(p)).collect();
    all.extend([low, high]);
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_ranks() {
        assert_eq!(ranks("1..8").unwrap(), [1, 2, 4, 8]);
        assert_eq!(ranks("3..20").unwrap(), [3, 4, 8, 16, 20]);
        assert_eq!(ranks("6").unwrap(), [6]);
        for bad in ["0..4", "8..4", "x", "", "1..", "-1..4"] {
            assert!(ranks(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_in_words() {
        let cases = [
            (0.0123, "12.3 ms"),
            (90.0, "90.0 s"),
            (600.0, "10.0 min"),
            (36_000.0, "10.0 h"),
            (864_000.0, "10 d"),
            (3.2e9, "101 years"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text);
        }
    }
}
