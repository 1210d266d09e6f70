//! Readers of meshes: OFF, OBJ, PLY and STL, gzipped or not. Polygons are cut into fans.

use super::{Mesh, Point};
use crate::data::spheres::images::unpacked;
use crate::{Error, Result, files};
use ply_rs_bw::parser::Parser;
use ply_rs_bw::ply::{DefaultElement, Property};
use std::io::Cursor;
use std::path::Path;

/// Vertices and triangles, or what is wrong.
type Parts = std::result::Result<(Vec<Point>, Vec<[u32; 3]>), String>;

/// What reads a format.
type Reader = fn(&[u8]) -> Parts;

/// A format's ending and its reader.
const FORMATS: [(&str, Reader); 4] = [(".off", off), (".obj", obj), (".ply", ply), (".stl", stl)];

/// The reader that a file's name asks for.
fn format(name: &str) -> Option<Reader> {
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    FORMATS
        .into_iter()
        .find(|(end, _)| name.ends_with(end))
        .map(|(_, read)| read)
}

/// Whether a file of this name is taken from a folder.
pub fn is_mesh_name(name: &str) -> bool {
    !name.starts_with('.') && format(name).is_some()
}

/// Reads a mesh; the name tells the format.
///
/// # Errors
/// Another format, a damaged file, a mesh without a surface ([`Mesh::new`]).
pub fn read(path: &Path) -> Result<Mesh> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let read = format(&name).ok_or_else(|| {
        Error::file(
            path,
            "the name must end in .off, .obj, .ply or .stl (or .gz)",
        )
    })?;
    let bytes = unpacked(path)?;
    let (vertices, faces) = read(bytes.strip_prefix(files::UTF_8_MARK).unwrap_or(&bytes))
        .map_err(|e| Error::file(path, e))?;
    Mesh::new(vertices, faces).map_err(|e| e.in_file(path))
}

/// A polygon as triangles about its first corner.
fn fan(corners: &[u32]) -> impl Iterator<Item = [u32; 3]> {
    corners
        .windows(2)
        .skip(1)
        .map(|pair| [corners[0], pair[0], pair[1]])
}

fn off(bytes: &[u8]) -> Parts {
    let text = files::lossy_text(files::plain(bytes.to_vec()));
    // Remarks may stand anywhere, and the first line may be glued to the counts.
    let lines = text
        .lines()
        .map(|l| l.split('#').next().unwrap_or_default());
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    let first = words.first().copied().unwrap_or_default();
    let glued = first
        .strip_prefix("OFF")
        .ok_or("begins otherwise than an OFF file")?;
    let mut words = Some(glued)
        .filter(|w| !w.is_empty())
        .into_iter()
        .chain(words.iter().skip(1).copied());
    let mut next = |what: &str| words.next().ok_or(format!("truncated: {what} is missing"));
    let integer = |word: &str| {
        word.parse::<u32>()
            .map_err(|_| format!("{word:?} is no whole number"))
    };
    let [vertices, faces] = [
        integer(next("the number of vertices")?)?,
        integer(next("the number of faces")?)?,
    ];
    next("the number of edges")?;
    let mut points = Vec::new();
    for i in 0..vertices {
        let mut point = [0.0; 3];
        for c in &mut point {
            let word = next(&format!("vertex {i} of {vertices}"))?;
            *c = word
                .parse()
                .map_err(|_| format!("vertex {i}: {word:?} is no number"))?;
        }
        points.push(point);
    }
    let mut triangles = Vec::new();
    for i in 0..faces {
        let what = format!("face {i} of {faces}");
        let n = integer(next(&what)?)?;
        let corners = (0..n).map(|_| next(&what).and_then(integer));
        triangles.extend(fan(&corners.collect::<std::result::Result<Vec<_>, _>>()?));
    }
    Ok((points, triangles))
}

fn obj(bytes: &[u8]) -> Parts {
    let options = tobj::LoadOptions {
        triangulate: true,
        ignore_points: true,
        ignore_lines: true,
        ..Default::default()
    };
    // Materials do not matter.
    let none = |_: &Path| Err(tobj::LoadError::OpenFileFailed);
    let text = files::lossy_text(files::plain(bytes.to_vec()));
    let (models, _) = tobj::load_obj_buf(&mut Cursor::new(text), &options, none)
        .map_err(|e| format!("not a whole OBJ file: {e}"))?;
    let (mut points, mut faces) = (Vec::new(), Vec::new());
    for model in models {
        let first = points.len() as u32;
        points.extend(model.mesh.positions.as_chunks::<3>().0);
        let corners = model.mesh.indices.as_chunks::<3>().0;
        faces.extend(corners.iter().map(|f| f.map(|i| i + first)));
    }
    Ok((points, faces))
}

fn stl(bytes: &[u8]) -> Parts {
    let mesh = stl_io::read_stl(&mut Cursor::new(bytes))
        .map_err(|e| format!("not a whole STL file: {e}"))?;
    let points = mesh.vertices.iter().map(|v| v.0.map(f64::from)).collect();
    let faces = mesh.faces.iter().map(|f| f.vertices.map(|i| i as u32));
    Ok((points, faces.collect()))
}

fn ply(bytes: &[u8]) -> Parts {
    let parser = Parser::<DefaultElement>::new();
    let header = parser
        .read_ply_header(&mut Cursor::new(bytes))
        .map_err(|e| format!("not a whole PLY file: {e}"))?;
    // The parser makes room for as many as are announced, and each takes a byte at the least.
    let more = |count: &usize| *count > bytes.len();
    if let Some(count) = header.elements.values().map(|e| e.count).find(more) {
        return Err(format!(
            "{count} elements in a file of {} bytes",
            bytes.len()
        ));
    }
    let whole = parser
        .read_ply(&mut Cursor::new(bytes))
        .map_err(|e| format!("not a whole PLY file: {e}"))?;
    let elements = |name: &str| whole.payload.get(name).ok_or(format!("no element {name}"));
    let point = |element: &DefaultElement| -> std::result::Result<Point, String> {
        let mut point = [0.0; 3];
        for (c, name) in point.iter_mut().zip(["x", "y", "z"]) {
            *c = element
                .get(name)
                .and_then(scalar)
                .ok_or(format!("a vertex without {name}"))?;
        }
        Ok(point)
    };
    let points = elements("vertex")?
        .iter()
        .map(point)
        .collect::<std::result::Result<_, _>>()?;
    let mut faces = Vec::new();
    for element in elements("face")? {
        let list = ["vertex_indices", "vertex_index"]
            .iter()
            .find_map(|name| element.get(*name));
        let corners = list
            .and_then(indices)
            .ok_or("a face without vertex_indices")?;
        faces.extend(fan(&corners));
    }
    Ok((points, faces))
}

fn scalar(property: &Property) -> Option<f64> {
    match *property {
        Property::Float(v) => Some(v.into()),
        Property::Double(v) => Some(v),
        Property::Int(v) => Some(v.into()),
        Property::UInt(v) => Some(v.into()),
        Property::Short(v) => Some(v.into()),
        Property::UShort(v) => Some(v.into()),
        Property::Char(v) => Some(v.into()),
        Property::UChar(v) => Some(v.into()),
        _ => None,
    }
}

fn indices(property: &Property) -> Option<Vec<u32>> {
    fn all<T: Copy + TryInto<u32>>(values: &[T]) -> Option<Vec<u32>> {
        values.iter().map(|&v| v.try_into().ok()).collect()
    }
    match property {
        Property::ListInt(v) => all(v),
        Property::ListUInt(v) => all(v),
        Property::ListShort(v) => all(v),
        Property::ListUShort(v) => all(v),
        Property::ListChar(v) => all(v),
        Property::ListUChar(v) => all(v),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINTS: [Point; 4] = [[0.0; 3], [1.0, 0.0, 0.0], [1.0, 1.0, 0.5], [0.0, 1.0, 0.25]];

    fn written(name: &str, text: &str) -> Result<Mesh> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    fn lines(prefix: &str) -> String {
        POINTS
            .iter()
            .map(|[x, y, z]| format!("{prefix}{x} {y} {z}\n"))
            .collect()
    }

    #[test]
    fn a_square_is_the_same_in_every_format() {
        let vertex = |i: usize| {
            format!(
                "vertex {} {} {}\n",
                POINTS[i][0], POINTS[i][1], POINTS[i][2]
            )
        };
        let facet = |f: [usize; 3]| {
            format!(
                "facet normal 0 0 1\nouter loop\n{}endloop\nendfacet\n",
                f.map(vertex).concat()
            )
        };
        let ply = "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty \
                   float z\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n";
        let files = [
            (
                "a.off",
                format!("OFF\n# a remark\n4 1 0\n{}4 0 1 2 3\n", lines("")),
            ),
            (
                "m.off",
                format!(
                    "\u{feff}OFF\r4 1 0\r{}4 0 1 2 3\r",
                    lines("").replace('\n', "\r")
                ),
            ),
            ("m.obj", format!("\u{feff}# é\n{}f 1 2 3 4\n", lines("v "))),
            ("b.OFF", format!("OFF4 1 0\n{}4 0 1 2 3\n", lines(""))),
            ("c.obj", format!("{}f 1 2 3 4\n", lines("v "))),
            ("d.ply", format!("{ply}{}4 0 1 2 3\n", lines(""))),
            (
                "e.stl",
                format!(
                    "solid s\n{}{}endsolid s\n",
                    facet([0, 1, 2]),
                    facet([0, 2, 3])
                ),
            ),
        ];
        for (name, text) in files {
            let mesh = written(name, &text).unwrap();
            assert_eq!(mesh.vertices, POINTS, "{name}");
            assert_eq!(mesh.faces, [[0, 1, 2], [0, 2, 3]], "{name}");
        }
    }

    #[test]
    fn damaged_files_are_refused_in_words() {
        let refused = |name: &str, text: &str, words: &str| {
            let error = written(name, text).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains(name), "{error}");
        };
        refused("a.off", "PLY", "begins otherwise");
        refused(
            "a.off",
            "OFF 3 1 0\n0 0 0\n1 0 0\n",
            "truncated: vertex 2 of 3",
        );
        refused(
            "a.off",
            "OFF 3 1 0\n0 0 0\n1 0 nil\n",
            "vertex 1: \"nil\" is no number",
        );
        refused(
            "a.off",
            "OFF 3 1 0\n0 0 0\n1 0 0\n0 nan 0\n3 0 1 2",
            "not a finite number",
        );
        refused(
            "a.off",
            "OFF 3 1 0\n0 0 0\n1 0 0\n0 1e51 0\n3 0 1 2",
            "within 1e50",
        );
        refused("a.off", "OFF 3 0 0\n0 0 0\n1 0 0\n0 1 0\n", "no faces");
        refused("a.ply", "ply\nformat ascii 1.0\n", "not a whole PLY file");
        let crowd = "ply\nformat binary_big_endian 1.0\nelement vertex 2147483647\nproperty list uchar \
                     int vertex_indices\nend_header\n";
        refused("a.ply", crowd, "2147483647 elements in a file of 109 bytes");
        refused("a.obj", "v 0 0\n", "not a whole OBJ file");
        refused("a.stl", "solid s\nfacet", "not a whole STL file");
        refused("a.txt", "", "the name must end in");
    }
}
