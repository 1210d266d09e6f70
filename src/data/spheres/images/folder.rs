//! Folders of PNG files.

use super::Images;
use crate::data::table::Table;
use crate::{Error, Result, files};
use png::{ColorType, Transformations};
use std::collections::HashMap;
use std::io::Cursor;
use std::path::Path;

/// All PNG files of a folder and its subfolders in the order of their names, as grey images.
pub fn read(folder: &Path) -> Result<Images> {
    let is_png = |e: &std::ffi::OsStr| e.eq_ignore_ascii_case("png");
    let mut files = files::within(folder)?;
    files.retain(|path| path.extension().is_some_and(is_png));
    if files.is_empty() {
        return Err(Error::file(folder, "no PNG files in it (.png)"));
    }
    files.sort();
    let mut all = Images::default();
    for path in files {
        let name = path.strip_prefix(folder).unwrap_or(&path);
        let mut one = decode(&path)?;
        one.ids = vec![name.to_string_lossy().into_owned()];
        all.append(one, &path)?;
    }
    Ok(all)
}

/// One file. Colours become their luma (ITU-R 601), what is transparent black.
fn decode(path: &Path) -> Result<Images> {
    let bad = |e: png::DecodingError| Error::file(path, format!("not a whole PNG file: {e}"));
    let bytes = files::read(path)?;
    let mut decoder = png::Decoder::new(Cursor::new(&bytes));
    decoder.set_transformations(Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(bad)?;
    let size = reader.output_buffer_size();
    let size = size
        .filter(|&s| s <= 1 << 26)
        .ok_or_else(|| Error::file(path, "too large an image"))?;
    let mut buffer = vec![0; size];
    let info = reader.next_frame(&mut buffer).map_err(bad)?;
    let luma =
        |c: &[u8]| 0.299 * f64::from(c[0]) + 0.587 * f64::from(c[1]) + 0.114 * f64::from(c[2]);
    let grey = |c: &[u8]| match info.color_type {
        ColorType::Rgb => luma(c),
        ColorType::Rgba => luma(c) * f64::from(c[3]) / 255.0,
        ColorType::GrayscaleAlpha => f64::from(c[0]) * f64::from(c[1]) / 255.0,
        ColorType::Grayscale | ColorType::Indexed => f64::from(c[0]),
    };
    let pixels = buffer[..info.buffer_size()].chunks_exact(info.color_type.samples());
    Ok(Images {
        rows: info.height as usize,
        columns: info.width as usize,
        pixels: pixels.map(|c| grey(c).round() as u8).collect(),
        ..Images::default()
    })
}

/// Labels of images out of a table with the columns `file` and `label`.
pub fn labels(path: &Path, ids: &[String]) -> Result<Vec<String>> {
    let table = Table::read(path)?;
    let (file, label) = (table.column("file")?, table.column("label")?);
    let mut known = HashMap::new();
    for row in table.rows() {
        known.insert(row.filled(file)?, row.filled(label)?);
    }
    let of = |id: &String| match known.get(id.as_str()) {
        Some(label) => Ok(label.to_string()),
        None => Err(Error::file(path, format!("no label for {id}"))),
    };
    ids.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_absurd_size_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = Vec::new();
        let encoder = png::Encoder::new(&mut bytes, 60_000, 60_000);
        let mut writer = encoder.write_header().unwrap();
        writer.write_chunk(png::chunk::IDAT, &[0; 8]).unwrap();
        drop(writer);
        std::fs::write(folder.path().join("a.png"), bytes).unwrap();
        let told = read(folder.path()).unwrap_err().to_string();
        assert!(told.ends_with("a.png: too large an image"), "{told}");
    }
}
