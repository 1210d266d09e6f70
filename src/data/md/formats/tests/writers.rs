//! Small writers of trajectory files.

use super::random;
use crate::data::md::formats::xtc::SMALL;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Big-endian numbers, one after the other.
#[derive(Default)]
pub(super) struct Out {
    pub bytes: Vec<u8>,
    little: bool,
}

impl Out {
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend(bytes);
        self
    }

    fn put<const N: usize>(&mut self, mut big: [u8; N]) -> &mut Self {
        if self.little {
            big.reverse();
        }
        self.raw(&big)
    }

    pub fn i32(&mut self, x: i32) -> &mut Self {
        self.put(x.to_be_bytes())
    }

    fn i64(&mut self, x: i64) -> &mut Self {
        self.put(x.to_be_bytes())
    }

    pub fn f32(&mut self, x: f32) -> &mut Self {
        self.put(x.to_be_bytes())
    }

    fn f64(&mut self, x: f64) -> &mut Self {
        self.put(x.to_be_bytes())
    }
}

/// Bits, highest first.
#[derive(Default)]
struct BitsOut {
    bits: Vec<bool>,
}

impl BitsOut {
    fn put(&mut self, number: u128, count: u32) {
        self.bits
            .extend((0..count).rev().map(|k| number >> k & 1 == 1));
    }

    /// Three numbers below `sizes` as one of `bits` bits.
    fn triple(&mut self, numbers: [u32; 3], sizes: [u32; 3], bits: u32) {
        let [a, b, c] = numbers.map(u128::from);
        let number = (a * u128::from(sizes[1]) + b) * u128::from(sizes[2]) + c;
        let mut have = 0;
        while have < bits {
            let count = (bits - have).min(8);
            self.put(number >> have & 0xff, count);
            have += count;
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let byte =
            |eight: &[bool]| (0..8).fold(0, |b, k| b << 1 | u8::from(eight.get(k) == Some(&true)));
        self.bits.chunks(8).map(byte).collect()
    }
}

/// The compressed part of an XTC frame: runs as long as `run` allows where atoms are near, and
/// small sizes that change where `drift` says.
pub(super) fn compress(
    points: &[[i32; 3]],
    small: usize,
    rng: &mut ChaCha8Rng,
) -> (Vec<u8>, [[i32; 3]; 2]) {
    let bound = |of: fn(i32, i32) -> i32| {
        let all = points.iter().copied();
        all.reduce(|a, b| std::array::from_fn(|k| of(a[k], b[k])))
            .unwrap()
    };
    let (lowest, highest) = (bound(i32::min), bound(i32::max));
    let sizes: [u32; 3] =
        std::array::from_fn(|k| (i64::from(highest[k]) - i64::from(lowest[k]) + 1) as u32);
    let product: u128 = sizes.iter().map(|&s| u128::from(s)).product();
    let (mut out, mut small, mut before, mut at) = (BitsOut::default(), small, 0, 0);
    while at < points.len() {
        let edge = SMALL[small];
        let offset = |a: [i32; 3], b: [i32; 3]| -> Option<[u32; 3]> {
            let all = [0, 1, 2].map(|k| {
                let d = i64::from(b[k]) - i64::from(a[k]) + i64::from(edge / 2);
                u32::try_from(d).ok().filter(|&d| d < edge)
            });
            Some([all[0]?, all[1]?, all[2]?])
        };
        // The atom in the middle is stored first: the one after it stands in front of it.
        let longest = rng.random_range(0..=8usize).min(points.len() - at - 1);
        let near = |from: usize, to: usize| offset(points[from], points[to]);
        let mut run = Vec::new();
        if longest > 0
            && let Some(first) = near(at + 1, at)
        {
            run.push(first);
            let mut from = at;
            while run.len() < longest
                && let Some(next) = near(from, at + run.len() + 1)
            {
                from = at + run.len() + 1;
                run.push(next);
            }
        }
        let whole = points[at + usize::from(!run.is_empty())];
        let whole: [u32; 3] = std::array::from_fn(|k| whole[k].wrapping_sub(lowest[k]) as u32);
        match sizes.iter().any(|&s| s > 0xff_ffff) {
            true => (0..3).for_each(|k| {
                out.put(u128::from(whole[k]), 32 - sizes[k].leading_zeros());
            }),
            false => out.triple(whole, sizes, 128 - product.leading_zeros()),
        }
        let change = rng.random_range(-1..=1i32);
        let next = (small as i32 + change) as usize;
        let change = if (9..73).contains(&next) { change } else { 0 };
        if run.len() != before || change != 0 {
            out.put(1, 1);
            out.put((3 * run.len() as i32 + change + 1) as u128, 5);
            before = run.len();
        } else {
            out.put(0, 1);
        }
        run.iter()
            .for_each(|&n| out.triple(n, [edge; 3], small as u32));
        at += 1 + run.len();
        small = (small as i32 + change) as usize;
    }
    (out.bytes(), [lowest, highest])
}

pub(super) const PRECISION: f32 = 1000.0;

/// An XTC frame of integers, multiples of 0.001 nm.
pub(super) fn xtc_frame(points: &[[i32; 3]], small: usize, long: bool, seed: u64) -> Vec<u8> {
    let (packed, [lowest, highest]) = compress(points, small, &mut random(seed));
    let atoms = points.len() as i32;
    let mut out = Out::default();
    out.i32(if long { 2023 } else { 1995 });
    out.i32(atoms).i32(7).f32(2.5);
    for k in 0..9 {
        out.f32(if k % 4 == 0 { 3.0 } else { 0.0 });
    }
    out.i32(atoms).f32(PRECISION);
    lowest.iter().chain(&highest).for_each(|&x| {
        out.i32(x);
    });
    out.i32(small as i32);
    match long {
        true => out.i64(packed.len() as i64),
        false => out.i32(packed.len() as i32),
    };
    out.raw(&packed);
    out.bytes.resize(out.bytes.len().next_multiple_of(4), 0);
    out.bytes
}

/// A walk of atoms: steps of up to `step`, now and then a jump within `far`.
pub(super) fn walk(count: usize, step: i32, far: i32, seed: u64) -> Vec<[i32; 3]> {
    let mut rng = random(seed);
    let mut at = [0i32; 3];
    (0..count)
        .map(|_| {
            let reach = if rng.random_bool(0.2) { far } else { step };
            at = at.map(|x| {
                let to = i64::from(x) + i64::from(rng.random_range(-reach..=reach));
                to.clamp(-i64::from(far), i64::from(far)) as i32
            });
            at
        })
        .collect()
}

/// A TRR frame; every block has its own numbers.
pub(super) fn trr_frame(atoms: usize, double: bool, blocks: [bool; 6], time: f64) -> Vec<u8> {
    let width = if double { 8 } else { 4 };
    let mut out = Out::default();
    out.i32(1993).i32(13).i32(12).raw(b"GMX_trn_file");
    let [cell, virial, pressure, x, v, f] = blocks;
    let matrix = |here| if here { 9 * width } else { 0 };
    let vector = |here| if here { 3 * width * atoms as i32 } else { 0 };
    out.i32(0).i32(0);
    out.i32(matrix(cell))
        .i32(matrix(virial))
        .i32(matrix(pressure));
    out.i32(0)
        .i32(0)
        .i32(vector(x))
        .i32(vector(v))
        .i32(vector(f));
    out.i32(atoms as i32).i32(3).i32(0);
    let mut number = |x: f64| match double {
        true => out.f64(x).bytes.len(),
        false => out.f32(x as f32).bytes.len(),
    };
    number(time);
    number(0.0);
    for (block, here) in blocks.into_iter().enumerate().filter(|(_, here)| *here) {
        let count = if block < 3 { 9 } else { 3 * atoms };
        for k in 0..count {
            let diagonal = if k % 4 == 0 { 2.0 } else { 0.0 };
            number(match (block, here) {
                (0, _) => diagonal,
                _ => 100.0 * block as f64 + k as f64 + time,
            });
        }
    }
    out.bytes
}

/// How a DCD file is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct DcdKind {
    pub little: bool,
    pub wide: bool,
    /// Version of CHARMM; 0 for X-PLOR.
    pub version: i32,
    pub cell: Option<[f64; 6]>,
    pub fourth: bool,
    /// Atoms 0, 2, … never move.
    pub fixed: bool,
}

pub(super) const DCD: DcdKind = DcdKind {
    little: true,
    wide: false,
    version: 24,
    cell: None,
    fourth: false,
    fixed: false,
};

pub(super) fn dcd_value(frame: usize, axis: usize, atom: usize) -> f32 {
    (1000 * frame + 100 * axis + atom) as f32 * 0.5
}

pub(super) fn dcd(kind: DcdKind, atoms: usize, frames: usize) -> Vec<u8> {
    let mut out = Out {
        little: kind.little,
        ..Out::default()
    };
    let record = |out: &mut Out, fill: &dyn Fn(&mut Out)| {
        let mut content = Out {
            little: kind.little,
            ..Out::default()
        };
        fill(&mut content);
        let length = content.bytes.len();
        let marker = |out: &mut Out| match kind.wide {
            true => out.i64(length as i64).bytes.len(),
            false => out.i32(length as i32).bytes.len(),
        };
        marker(out);
        out.raw(&content.bytes);
        marker(out);
    };
    let fixed = if kind.fixed { atoms.div_ceil(2) } else { 0 };
    record(&mut out, &|out| {
        out.raw(b"CORD").i32(frames as i32).i32(10).i32(5);
        (0..5).for_each(|_| {
            out.i32(0);
        });
        out.i32(fixed as i32);
        match kind.version {
            0 => out.f64(0.25),
            _ => out.f32(0.25).i32(i32::from(kind.cell.is_some())),
        };
        out.i32(i32::from(kind.fourth));
        (0..7).for_each(|_| {
            out.i32(0);
        });
        out.i32(kind.version);
    });
    record(&mut out, &|out| {
        out.i32(2).raw(&[b' '; 160]);
    });
    record(&mut out, &|out| {
        out.i32(atoms as i32);
    });
    if kind.fixed {
        record(&mut out, &|out| {
            (0..atoms).filter(|a| a % 2 == 1).for_each(|a| {
                out.i32(a as i32 + 1);
            });
        });
    }
    for frame in 0..frames {
        if let Some(cell) = kind.cell {
            record(&mut out, &|out| {
                cell.iter().for_each(|&x| {
                    out.f64(x);
                });
            });
        }
        for axis in 0..3 + usize::from(kind.fourth) {
            record(&mut out, &|out| {
                let stored = |a: &usize| frame == 0 || !kind.fixed || a % 2 == 1;
                (0..atoms).filter(stored).for_each(|a| {
                    out.f32(dcd_value(frame, axis, a));
                });
            });
        }
    }
    out.bytes
}

/// Variants of AMBER's NetCDF.
#[derive(Clone, Copy)]
pub(super) struct NetcdfKind {
    /// Places of 64 bits.
    pub wide: bool,
    pub double: bool,
    /// One frame, in no record.
    pub restart: bool,
    /// The file does not tell how many frames it has.
    pub unknown: bool,
    pub scale: Option<f32>,
}

pub(super) const NETCDF: NetcdfKind = NetcdfKind {
    wide: false,
    double: false,
    restart: false,
    unknown: false,
    scale: None,
};

/// A file whose positions are those of [`dcd_value`], in a box of 20, 30 and 40 Å; times are 2 ps apart.
pub(super) fn netcdf(kind: NetcdfKind, atoms: usize, frames: usize) -> Vec<u8> {
    let width = if kind.double { 8 } else { 4 };
    let name = |out: &mut Out, name: &str| {
        out.i32(name.len() as i32).raw(name.as_bytes());
        out.raw(&[0; 3][..name.len().next_multiple_of(4) - name.len()]);
    };
    let records = i32::from(!kind.restart);
    // Dimensions: records, spatial, atoms, letters.
    let variables: [(&str, &[i32], i32, usize); 4] = [
        ("time", &[0], 5, 4),
        (
            "coordinates",
            &[0, 2, 1],
            if kind.double { 6 } else { 5 },
            3 * atoms * width,
        ),
        ("cell_lengths", &[0, 1], 6, 24),
        ("cell_angles", &[0, 1], 6, 24),
    ];
    let header = |first: usize| {
        let mut out = Out::default();
        out.raw(b"CDF").raw(&[if kind.wide { 2 } else { 1 }]);
        out.i32(if kind.unknown {
            -1
        } else {
            records * frames as i32
        });
        out.i32(10).i32(3);
        for (of, length) in [("frame", 0), ("spatial", 3), ("atom", atoms as i32)] {
            name(&mut out, of);
            out.i32(length);
        }
        out.i32(12).i32(1);
        name(&mut out, "Conventions");
        out.i32(2).i32(5).raw(b"AMBER\0\0\0");
        out.i32(11).i32(variables.len() as i32);
        let mut begin = first;
        for (of, dimensions, number, size) in variables {
            name(&mut out, of);
            let own = &dimensions[usize::from(kind.restart)..];
            out.i32(own.len() as i32);
            for &dimension in own {
                out.i32(dimension);
            }
            match kind.scale.filter(|_| of == "coordinates") {
                Some(scale) => {
                    out.i32(12).i32(1);
                    name(&mut out, "scale_factor");
                    out.i32(5).i32(1).f32(scale);
                }
                None => {
                    out.i32(0).i32(0);
                }
            }
            out.i32(number).i32(size as i32);
            match kind.wide {
                true => out.i64(begin as i64),
                false => out.i32(begin as i32),
            };
            begin += size;
        }
        out
    };
    let mut out = header(header(0).bytes.len());
    for frame in 0..frames {
        out.f32(2.0 * frame as f32);
        for (atom, axis) in (0..atoms).flat_map(|a| (0..3).map(move |x| (a, x))) {
            let value = dcd_value(frame, axis, atom);
            match kind.double {
                true => out.f64(f64::from(value)),
                false => out.f32(value),
            };
        }
        for x in [20.0, 30.0, 40.0, 90.0, 90.0, 90.0] {
            out.f64(x);
        }
    }
    out.bytes
}

/// Two models of two atoms between the given records.
pub(super) fn pdb_text(open: &str, close: &str) -> String {
    let atom = |x: f64| {
        format!(
            "ATOM      1  N   ALA A   1    {x:8.3}{:8.3}{:8.3}\n",
            1.0, -2.5
        )
    };
    let model = |x: f64| [open, &atom(x), &atom(x + 1.0), "TER\n", close].concat();
    [
        "CRYST1   20.000   30.000   40.000  90.00  90.00  90.00\n",
        &model(1.0),
        &model(3.0),
    ]
    .concat()
}
