//! POSCAR and CONTCAR files of VASP 5: a remark, a scale, three vectors, symbols, numbers of atoms,
//! perhaps `Selective dynamics`, `Direct` or `Cartesian`, positions.

use super::{Options, Source, at_line, element, number};
use crate::Result;
use crate::data::system::{Cell, Point, System};
use crate::data::systems::Sample;

pub(super) fn read(source: &Source, _: &Options) -> Result<Vec<Sample>> {
    let text = source.text()?;
    let lines: Vec<&str> = text.lines().collect();
    Ok(vec![Sample {
        system: system(&lines)?,
        ..source.sample(None)
    }])
}

fn line<'t>(lines: &[&'t str], i: usize) -> Result<&'t str> {
    lines
        .get(i)
        .copied()
        .ok_or_else(|| at_line(i + 1, "the file ends before it: truncated"))
}

fn vector(lines: &[&str], i: usize) -> Result<Point> {
    let mut words = line(lines, i)?.split_whitespace();
    let mut v = [0.0; 3];
    for x in &mut v {
        let word = words.next().unwrap_or_default();
        *x = number(word, "a number").map_err(|what| at_line(i + 1, what))?;
    }
    Ok(v)
}

fn system(lines: &[&str]) -> Result<System<f64>> {
    let scale = line(lines, 1)?.trim();
    let mut scale: f64 = number(scale, "a scale").map_err(|what| at_line(2, what))?;
    let vectors = [vector(lines, 2)?, vector(lines, 3)?, vector(lines, 4)?];
    let flat = || at_line(3, "a cell of no volume");
    let unscaled = Cell::new(vectors).ok_or_else(flat)?;
    // A negative scale is the volume.
    if scale < 0.0 {
        scale = (-scale / unscaled.volume()).cbrt();
    }
    let cell = Cell::new(vectors.map(|v| v.map(|x| scale * x)));
    let cell = cell.filter(|c| c.volume() > 1e-6).ok_or_else(flat)?;
    let symbols = line(lines, 5)?.split_whitespace();
    let elements = symbols.map(|s| {
        // Names of potentials: Fe_pv, O/hash.
        let symbol = s.split(['_', '/']).next().unwrap_or_default();
        let z = element(symbol)
            .ok()
            .filter(|_| symbol.parse::<u32>().is_err());
        z.ok_or_else(|| {
            at_line(
                6,
                format!("{s:?} is not an element; VASP 5 names them here"),
            )
        })
    });
    let elements: Vec<u8> = elements.collect::<Result<_>>()?;
    let counts = line(lines, 6)?.split_whitespace();
    let counts = counts.map(|c| number(c, "a number of atoms").map_err(|w| at_line(7, w)));
    let counts: Vec<usize> = counts.collect::<Result<_>>()?;
    if counts.len() != elements.len() {
        let what = format!("{} numbers for {} elements", counts.len(), elements.len());
        return Err(at_line(7, what));
    }
    let mut at = 7;
    let first = |at| -> Result<char> {
        Ok(line(lines, at)?
            .trim_start()
            .chars()
            .next()
            .unwrap_or(' ')
            .to_ascii_lowercase())
    };
    if first(at)? == 's' {
        at += 1;
    }
    let cartesian = match first(at)? {
        'c' | 'k' => true,
        'd' => false,
        _ => return Err(at_line(at + 1, "Direct or Cartesian is needed")),
    };
    let mut system = System {
        cell: Some(cell),
        ..System::default()
    };
    for (&z, &count) in elements.iter().zip(&counts) {
        for _ in 0..count {
            at += 1;
            let place = vector(lines, at)?;
            system.numbers.push(z);
            system.positions.push(match cartesian {
                true => place.map(|x| scale * x),
                false => cell.lattice(place),
            });
        }
    }
    Ok(system)
}
