//! Crystals in CIF: a cell, atoms in fractional coordinates, and the operations of the space group,
//! which are carried out. Also PDB and mmCIF files of molecules, by the readers of structures.

use super::{Options, Source, element, number};
use crate::data::structure::{self, ReadOptions, Token, Tokens};
use crate::data::system::{Cell, Point, System, dot, sub};
use crate::data::systems::Sample;
use crate::{Error, Result};
use std::collections::HashMap;

type Parsed<T> = std::result::Result<T, String>;

/// CIF of a crystal has names with underscores where mmCIF has points.
pub(super) fn fits(source: &Source) -> Result<bool> {
    let text = source.text()?.to_ascii_lowercase();
    Ok(text.contains("_atom_site_fract_x"))
}

pub(super) fn read(source: &Source, _: &Options) -> Result<Vec<Sample>> {
    Ok(vec![Sample {
        system: crystal(&source.text()?).map_err(Error::Input)?,
        ..source.sample(None)
    }])
}

/// All atoms of a PDB or mmCIF file, hydrogens included; waters are left out.
pub(super) fn read_structure(source: &Source, _: &Options) -> Result<Vec<Sample>> {
    let options = ReadOptions {
        hydrogens: true,
        ..ReadOptions::default()
    };
    let structures = structure::read_any(&source.path, &options)?;
    let sample = |s: structure::Structure| Sample {
        system: System {
            numbers: s.system.numbers,
            positions: s
                .system
                .positions
                .iter()
                .map(|p| p.map(f64::from))
                .collect(),
            ..System::default()
        },
        id: s.id.clone(),
        group: s.id,
        notes: s.notes,
        ..source.sample(None)
    };
    Ok(structures.into_iter().map(sample).collect())
}

/// The first data block of a CIF text.
struct Block<'a> {
    items: HashMap<String, Token<'a>>,
    loops: Vec<Loop<'a>>,
}

struct Loop<'a> {
    names: Vec<String>,
    values: Vec<Token<'a>>,
}

fn text<'a>(token: &Token<'a>) -> std::borrow::Cow<'a, str> {
    String::from_utf8_lossy(token.text)
}

impl<'a> Block<'a> {
    fn parse(source: &'a str) -> Parsed<Self> {
        let mut tokens = Tokens::new(source.as_bytes());
        let mut block = Self {
            items: HashMap::new(),
            loops: Vec::new(),
        };
        let mut blocks = 0;
        let mut ahead = tokens.next()?;
        while let Some(token) = ahead {
            ahead = tokens.next()?;
            if token.is_word(b"data_") {
                blocks += 1;
                if blocks > 1 {
                    break;
                }
            } else if token.is_name() {
                let value = ahead.ok_or("the file ends after a name: truncated")?;
                block.items.insert(text(&token).to_ascii_lowercase(), value);
                ahead = tokens.next()?;
            } else if token.is_word(b"loop_") {
                let mut own = Loop {
                    names: Vec::new(),
                    values: Vec::new(),
                };
                while let Some(name) = ahead.filter(Token::is_name) {
                    own.names.push(text(&name).to_ascii_lowercase());
                    ahead = tokens.next()?;
                }
                while let Some(value) = ahead.filter(|t| !t.is_structural()) {
                    own.values.push(value);
                    ahead = tokens.next()?;
                }
                if own.names.is_empty() || !own.values.len().is_multiple_of(own.names.len()) {
                    return Err(format!(
                        "line {}: a loop of {} values for {} names: truncated or malformed",
                        token.line,
                        own.values.len(),
                        own.names.len()
                    ));
                }
                block.loops.push(own);
            }
        }
        Ok(block)
    }

    fn number(&self, name: &str) -> Parsed<f64> {
        let token = self.items.get(name).ok_or_else(|| format!("no {name}"))?;
        real(token).map_err(|what| format!("line {}: {name}: {what}", token.line))
    }

    /// The loop that has a column of one of these names, and the column's place.
    fn column(&self, names: &[&str]) -> Option<(&Loop<'a>, usize)> {
        let find = |name: &&str| {
            let found = |l: &&Loop| l.names.iter().any(|n| n == name);
            let own = self.loops.iter().find(found)?;
            let place = own.names.iter().position(|n| n == name)?;
            Some((own, place))
        };
        names.iter().find_map(find)
    }
}

/// A number, which may carry its uncertainty: `0.123(4)`.
fn real(token: &Token) -> Parsed<f64> {
    let text = text(token);
    let plain = text.split('(').next().unwrap_or_default();
    number(plain, "a number")
}

/// The atoms and the cell of a CIF text.
///
/// # Errors
/// What is wrong and in which line: no cell, or one of no volume; a site that is shared by several
/// atoms; a space group without its operations.
pub(super) fn crystal(source: &str) -> Parsed<System<f64>> {
    let block = Block::parse(source)?;
    let side = |axis: char| block.number(&format!("_cell_length_{axis}"));
    let angle = |name: &str| block.number(&format!("_cell_angle_{name}"));
    let cell = lattice(
        [side('a')?, side('b')?, side('c')?],
        [angle("alpha")?, angle("beta")?, angle("gamma")?],
    )?;
    let (sites, x) = block
        .column(&["_atom_site_fract_x"])
        .ok_or("no loop with _atom_site_fract_x")?;
    let find = |name: &str| sites.names.iter().position(|n| n == name);
    let missing = |name: &str| format!("_atom_site_ has no {name}");
    let y = find("_atom_site_fract_y").ok_or_else(|| missing("fract_y"))?;
    let z = find("_atom_site_fract_z").ok_or_else(|| missing("fract_z"))?;
    let symbols = ["_atom_site_type_symbol", "_atom_site_label"].map(find);
    if symbols == [None; 2] {
        return Err(missing("type_symbol"));
    }
    let occupancy = find("_atom_site_occupancy");
    let operations = operations(&block)?;
    let mut system = System {
        cell: Some(cell),
        ..System::default()
    };
    for row in sites.values.chunks(sites.names.len()) {
        let at_line = |what: String| format!("line {}: {what}", row[0].line);
        let symbol = symbols
            .iter()
            .flatten()
            .find(|&&s| row[s].value().is_some());
        let symbol = symbol.ok_or_else(|| at_line("an atom without a symbol".into()))?;
        let word = text(&row[*symbol]);
        let letters = word.find(|c: char| !c.is_ascii_alphabetic());
        let number = element(&word[..letters.unwrap_or(word.len())]).map_err(at_line)?;
        if let Some(share) = occupancy.filter(|&o| row[o].value().is_some()) {
            let share = real(&row[share]).map_err(at_line)?;
            if (share - 1.0).abs() > 1e-3 {
                let what = format!("occupancy {share}: a disordered crystal has no one structure");
                return Err(at_line(what));
            }
        }
        let site = [real(&row[x]), real(&row[y]), real(&row[z])];
        let [Ok(x), Ok(y), Ok(z)] = site else {
            return Err(at_line("a fractional coordinate is not a number".into()));
        };
        for place in images([x, y, z], &operations, &cell) {
            system.numbers.push(number);
            system.positions.push(cell.lattice(place));
        }
    }
    Ok(system)
}

/// The cell of these lengths (Å) and angles (degrees), its first vector along x, its second in the
/// plane of x and y.
pub(super) fn lattice([a, b, c]: [f64; 3], angles: [f64; 3]) -> Parsed<Cell> {
    // The cosine of 90 degrees is zero, not 6e-17.
    let cosine = |degrees: f64| {
        if degrees == 90.0 {
            0.0
        } else {
            degrees.to_radians().cos()
        }
    };
    let [alpha, beta, gamma] = angles.map(cosine);
    let sine = (1.0 - gamma * gamma).sqrt();
    let y = (alpha - beta * gamma) / sine;
    let z = (1.0 - beta * beta - y * y).max(0.0).sqrt();
    let vectors = [
        [a, 0.0, 0.0],
        [b * gamma, b * sine, 0.0],
        [c * beta, c * y, c * z],
    ];
    let volume = |cell: &Cell| cell.volume() > 1e-6;
    Cell::new(vectors).filter(volume).ok_or_else(|| {
        format!("a cell of no volume: lengths {a}, {b}, {c} Å, angles {angles:?} degrees")
    })
}

/// A symmetry operation on fractional coordinates: rotation and translation.
struct Operation {
    rotation: [Point; 3],
    translation: Point,
}

/// Names of the category of operations, old and new.
const OPERATIONS: [&str; 2] = [
    "_symmetry_equiv_pos_as_xyz",
    "_space_group_symop_operation_xyz",
];

/// The general positions of the largest space groups (No. 225 to 228) in their conventional cell.
const MOST_OPERATIONS: usize = 192;

fn operations(block: &Block) -> Parsed<Vec<Operation>> {
    if let Some((own, place)) = block.column(&OPERATIONS) {
        let rows = own.values.chunks(own.names.len());
        if rows.len() > MOST_OPERATIONS {
            let (has, line) = (rows.len(), own.values[0].line);
            return Err(format!(
                "line {line}: {has} operations, a space group has {MOST_OPERATIONS} at most"
            ));
        }
        let parse = |row: &[Token]| {
            let of = operation(&text(&row[place]));
            of.map_err(|what| format!("line {}: {what}", row[place].line))
        };
        return rows.map(parse).collect();
    }
    if let Some(token) = OPERATIONS.iter().find_map(|name| block.items.get(*name)) {
        return Ok(vec![operation(&text(token))?]);
    }
    let names = ["_symmetry_int_tables_number", "_space_group_it_number"];
    let group = names.iter().find_map(|name| block.items.get(*name));
    match group.map(|token| text(token)) {
        Some(number) if number != "1" && number != "?" => Err(format!(
            "space group {number} without its operations ({}): write them out",
            OPERATIONS[0]
        )),
        _ => Ok(vec![operation("x,y,z")?]),
    }
}

/// An operation such as `-x+1/2, y, z-0.25`.
fn operation(source: &str) -> Parsed<Operation> {
    let bad = || format!("{source:?} is not an operation such as -x+1/2, y, z");
    let parts: Vec<&str> = source.split(',').collect();
    let parts: [&str; 3] = parts.try_into().map_err(|_| bad())?;
    let mut operation = Operation {
        rotation: [[0.0; 3]; 3],
        translation: [0.0; 3],
    };
    for (k, part) in parts.iter().enumerate() {
        let part: String = part.chars().filter(|c| !c.is_whitespace()).collect();
        let part = part.to_ascii_lowercase();
        let mut rest = part.as_str();
        if rest.is_empty() {
            return Err(bad());
        }
        while !rest.is_empty() {
            let negative = rest.starts_with('-');
            rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
            let sign = if negative { -1.0 } else { 1.0 };
            let end = rest.find(['+', '-']).unwrap_or(rest.len());
            let (term, after) = rest.split_at(end);
            rest = after;
            match term.find(['x', 'y', 'z']) {
                Some(place) => {
                    let axis = usize::from(term.as_bytes()[place] - b'x');
                    let factor = term[..place].trim_end_matches('*');
                    let whole = place + 1 == term.len();
                    let factor = if factor.is_empty() {
                        Some(1.0)
                    } else {
                        fraction(factor)
                    };
                    let factor = factor.filter(|_| whole).ok_or_else(bad)?;
                    operation.rotation[k][axis] += sign * factor;
                }
                None => operation.translation[k] += sign * fraction(term).ok_or_else(bad)?,
            }
        }
    }
    Ok(operation)
}

/// `1/2`, `0.5` or `3`.
fn fraction(text: &str) -> Option<f64> {
    match text.split_once('/') {
        Some((top, bottom)) => {
            let (top, bottom): (f64, f64) = (top.parse().ok()?, bottom.parse().ok()?);
            (bottom != 0.0).then(|| top / bottom)
        }
        None => text.parse().ok(),
    }
}

/// The places inside the cell to which the operations bring a site, each once: those nearer than
/// 0.05 Å are the same, an atom on a mirror or an axis.
fn images(site: Point, operations: &[Operation], cell: &Cell) -> Vec<Point> {
    const SAME: f64 = 0.05;
    let mut found: Vec<Point> = Vec::new();
    for operation in operations {
        let place: Point = std::array::from_fn(|k| {
            let moved = dot(operation.rotation[k], site) + operation.translation[k];
            moved.rem_euclid(1.0)
        });
        let near = |other: &Point| {
            let between = cell.lattice(sub(place, *other));
            let between = sub(between, cell.nearest_image(between));
            dot(between, between) < SAME * SAME
        };
        if !found.iter().any(near) {
            found.push(place);
        }
    }
    found
}
