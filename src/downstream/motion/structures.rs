//! How much each residue moves, as B-factors.

use crate::data::structure::b_factors;
use crate::data::system::{Residue, System};
use crate::data::trajectory::{Dataset, coordinates_name};
use crate::store::{self, Kind};
use crate::{Error, Result};
use std::path::Path;

/// The first line of every PDB file of motion.
pub const STRUCTURE: &str = "REMARK 250 HOLOSIG: B-FACTORS ARE LENGTHS OF INVARIANT PATHS";

/// One PDB file per graph of `trajectories` into `folder`: its first frame, with the length of each
/// residue's path of invariants per frame (mean over trajectories, from the file `motion`) as
/// B-factor, the largest being 100. Atoms of residues without a CA have 0.
///
/// # Errors
/// Trajectories other than those that the motion is of; an unwritable folder.
pub fn write(motion: &Path, trajectories: &Dataset, folder: &Path) -> Result<()> {
    let file = store::open(motion, Kind::Motion)?;
    if file.attr_text("trajectories")? != trajectories.fingerprint() {
        let what = "not the trajectories that the paths of invariants were made of";
        return Err(Error::file(trajectories.path(), what));
    }
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    let (lengths, offsets) = (
        file.group("length")?,
        file.group("residue")?.read::<u64>("offsets")?,
    );
    let names = file.group("residue")?.read_strings("name")?;
    let numbers = file.group("residue")?.read::<i32>("number")?;
    for (number, graph) in trajectories.graphs().iter().enumerate() {
        let all = trajectories.trajectories().iter().enumerate();
        let on: Vec<usize> = all
            .filter(|(_, t)| t.graph as usize == number)
            .map(|(i, _)| i)
            .collect();
        let (Some(atoms), Some(&first)) = (&graph.atoms, on.first()) else {
            continue;
        };
        let mut sums: Vec<f64> = Vec::new();
        for &i in &on {
            let frames = trajectories.trajectories()[i].frames.max(1) as f64;
            let own: Vec<f64> = lengths.read(&coordinates_name(i))?;
            sums.resize(own.len(), 0.0);
            sums.iter_mut().zip(own).for_each(|(s, l)| *s += l / frames);
        }
        let largest = sums.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let (from, to) = (offsets[number] as usize, offsets[number + 1] as usize);
        let who = names[from..to].iter().zip(&numbers[from..to]);
        let of = factors(atoms, who, &sums);
        let scaled: Vec<f64> = of.into_iter().map(|x| 100.0 * x / largest).collect();
        let points = trajectories.frames(first, 0..1)?.values;
        let path = folder.join(format!("graph-{number:06}.pdb"));
        let text = b_factors::of_system(STRUCTURE, atoms, points.as_chunks().0, &scaled)?;
        store::write_bytes(&path, text.as_bytes())?;
    }
    Ok(())
}

/// The value of each atom's residue; the residues `who` that have one stand in the order of the atoms.
fn factors<'a>(
    atoms: &System,
    who: impl Iterator<Item = (&'a String, &'a i32)>,
    values: &[f64],
) -> Vec<f64> {
    let mut who = who.zip(values).peekable();
    let of = |r: &Residue| {
        let same =
            who.next_if(|((name, number), _)| r.name.as_str() == **name && r.number == **number);
        same.map_or(0.0, |(_, value)| *value)
    };
    let of_residue: Vec<f64> = atoms.residues.iter().map(of).collect();
    let residues = atoms.residue_of.iter();
    residues.map(|&r| of_residue[r as usize]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_do_not_move() {
        let residue = |name: &str, number| Residue {
            name: name.into(),
            number,
            ..Residue::default()
        };
        let atoms = System {
            residues: vec![
                residue("ACE", 1),
                residue("ALA", 2),
                residue("ALA", 3),
                residue("NME", 4),
            ],
            residue_of: vec![0, 1, 1, 2, 3],
            ..System::default()
        };
        let names = ["ALA".to_string(), "ALA".to_string()];
        let who = names.iter().zip(&[2, 3]);
        assert_eq!(factors(&atoms, who, &[5.0, 7.0]), [0.0, 5.0, 5.0, 7.0, 0.0]);
    }
}
