//! Meshes and images that become signals on the sphere.

use super::Target;
use crate::packed::gzip;
use holosig::data::Split;
use holosig::data::spheres::images::Images;
use holosig::data::spheres::make::{ShapeFile, ShapeMaker};
use std::path::Path;
use std::sync::LazyLock;

const fn mesh(
    corpus: fn() -> Vec<Vec<u8>>,
    words: &'static [&'static str],
    ending: &'static str,
) -> Target {
    Target {
        corpus,
        words,
        ending,
        read: shape,
    }
}

pub const OFF: Target = mesh(
    || vec![format!("OFF\n# a remark\n4 4 6\n{}{}", corners(""), faces("3 ", 0)).into()],
    &["OFF", "#", "4294967295", "nan", "1e308"],
    ".off",
);
pub const OBJ: Target = mesh(
    || {
        vec![
            format!(
                "o a\n{}vt 0 0\nvn 0 0 1\n{}f 1/1/1 -1//1 2\n",
                corners("v "),
                faces("f ", 1)
            )
            .into(),
        ]
    },
    &[
        "v ",
        "vt ",
        "vn ",
        "f ",
        "g ",
        "usemtl ",
        "mtllib ",
        "/",
        "//",
        "-1",
        "18446744073709551615",
    ],
    ".obj",
);
pub const PLY: Target = mesh(
    || {
        ["ascii", "binary_little_endian", "binary_big_endian"]
            .map(ply)
            .into()
    },
    &[
        "ply",
        "format ascii 1.0",
        "element face ",
        "property list uchar int ",
        "end_header",
        "double",
        "uint",
    ],
    ".ply",
);
pub const STL: Target = mesh(
    || vec![stl_text().into(), stl_binary()],
    &[
        "solid",
        "facet normal",
        "outer loop",
        "vertex",
        "endloop",
        "endfacet",
        "endsolid",
        "nan",
    ],
    ".stl",
);
pub const IDX: Target = Target {
    corpus: || vec![idx(), gzip(&idx())],
    words: &["\0\0\u{8}\u{3}", "\0\0\u{8}\u{1}"],
    ending: "-idx3-ubyte",
    read: |path| Images::read(&[path.into()], &[]).map(drop),
};
/// A folder with one file.
pub const PNG: Target = Target {
    corpus: || vec![png(png::ColorType::Rgba), png(png::ColorType::Grayscale)],
    words: &["IHDR", "IDAT", "PLTE", "tRNS", "IEND", "acTL"],
    ending: ".png",
    read: |path| Images::read(&[path.parent().unwrap().into()], &[]).map(drop),
};

/// Makes a sample of a mesh, whose coefficients are numbers.
fn shape(path: &Path) -> holosig::Result<()> {
    let file = ShapeFile {
        path: path.into(),
        id: "a".into(),
        label: String::new(),
        subclass: String::new(),
        split: Split::Test,
    };
    static MAKER: LazyLock<ShapeMaker> =
        LazyLock::new(|| ShapeMaker::new(2, 4, true, true, 0).unwrap());
    let (sample, _) = MAKER.sample(&file, 0, 0)?;
    assert!(sample.coefficients.iter().all(|x| x.is_finite()));
    Ok(())
}

/// Of a tetrahedron.
const CORNERS: [[f32; 3]; 4] = [[0.0; 3], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.25, 0.5, 1.5]];
const FACES: [[usize; 3]; 4] = [[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]];

fn corners(before: &str) -> String {
    CORNERS
        .iter()
        .map(|[x, y, z]| format!("{before}{x} {y} {z}\n"))
        .collect()
}

fn faces(before: &str, first: usize) -> String {
    let line = |f: &[usize; 3]| {
        format!(
            "{before}{} {} {}\n",
            f[0] + first,
            f[1] + first,
            f[2] + first
        )
    };
    FACES.iter().map(line).collect()
}

fn ply(format: &str) -> Vec<u8> {
    let head = format!(
        "ply\nformat {format} 1.0\ncomment x\nelement vertex 4\nproperty float x\nproperty float y\n\
         property float z\nelement face 4\nproperty list uchar int vertex_indices\nend_header\n"
    );
    let number = |bytes: [u8; 4]| match format {
        "binary_little_endian" => bytes.into_iter().rev().collect::<Vec<u8>>(),
        _ => bytes.to_vec(),
    };
    let body = match format {
        "ascii" => format!("{}{}", corners(""), faces("3 ", 0)).into_bytes(),
        _ => {
            let points = CORNERS
                .iter()
                .flatten()
                .flat_map(|x| number(x.to_be_bytes()));
            let face = |f: &[usize; 3]| {
                let corners = f.iter().flat_map(|&i| number((i as i32).to_be_bytes()));
                std::iter::once(3).chain(corners).collect::<Vec<u8>>()
            };
            points.chain(FACES.iter().flat_map(face)).collect()
        }
    };
    [head.into_bytes(), body].concat()
}

fn stl_text() -> String {
    let vertex = |&i: &usize| {
        let [x, y, z] = CORNERS[i];
        format!("vertex {x} {y} {z}\n")
    };
    let facet = |f: &[usize; 3]| {
        let corners: String = f.iter().map(vertex).collect();
        format!("facet normal 0 0 1\nouter loop\n{corners}endloop\nendfacet\n")
    };
    let facets: String = FACES.iter().map(facet).collect();
    format!("solid a\n{facets}endsolid a\n")
}

fn stl_binary() -> Vec<u8> {
    let mut bytes = vec![b'x'; 80];
    bytes.extend((FACES.len() as u32).to_le_bytes());
    for face in FACES {
        let corners = face.iter().flat_map(|&i| CORNERS[i]);
        let numbers = [0.0, 0.0, 1.0].into_iter().chain(corners);
        bytes.extend(numbers.flat_map(f32::to_le_bytes));
        bytes.extend([0, 0]);
    }
    bytes
}

/// Two images of 2 x 3 pixels.
fn idx() -> Vec<u8> {
    let words = [0x0803u32, 2, 2, 3].into_iter().flat_map(u32::to_be_bytes);
    words.chain(0..12).collect()
}

fn png(colours: png::ColorType) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 3, 2);
    encoder.set_color(colours);
    let mut writer = encoder.write_header().unwrap();
    let pixels: Vec<u8> = (0..6 * colours.samples() as u8).collect();
    writer.write_image_data(&pixels).unwrap();
    writer.finish().unwrap();
    bytes
}
