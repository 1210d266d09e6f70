//! Grey pictures of many signals side by side, as PNG.

use crate::{Error, Result};
use std::fmt::Write;

/// Pixels between signals, and per grid point.
const GAP: usize = 3;
const ZOOM: usize = 2;

/// Signals `[n, side, side]` in rows of `columns`, black where they are lowest.
///
/// # Errors
/// A failure of the library.
pub fn montage(signals: &[f64], side: usize, columns: usize) -> Result<Vec<u8>> {
    let n = signals.len() / (side * side);
    let columns = columns.clamp(1, n.max(1));
    let (step, rows) = (side * ZOOM + GAP, n.div_ceil(columns));
    let (width, height) = (columns * step + GAP, rows * step + GAP);
    let bounds = |(low, high): (f64, f64), &v: &f64| (low.min(v), high.max(v));
    let (low, high) = signals
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), bounds);
    let scale = if high > low {
        255.0 / (high - low)
    } else {
        0.0
    };
    let mut pixels = vec![255u8; width * height];
    for (i, signal) in signals.chunks_exact(side * side).enumerate() {
        let corner = (i / columns * step + GAP) * width + i % columns * step + GAP;
        for row in 0..side * ZOOM {
            let line = &mut pixels[corner + row * width..][..side * ZOOM];
            for (column, pixel) in line.iter_mut().enumerate() {
                *pixel = ((signal[row / ZOOM * side + column / ZOOM] - low) * scale) as u8;
            }
        }
    }
    encode(&pixels, width, height)
}

fn encode(pixels: &[u8], width: usize, height: usize) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width as u32, height as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let written = encoder
        .write_header()
        .and_then(|mut w| w.write_image_data(pixels));
    written.map_err(Error::internal)?;
    Ok(out)
}

/// A picture inside a page: HTML with the bytes of the PNG file in base 64 (RFC 4648).
pub fn embedded(png: &[u8], caption: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(png.len().div_ceil(3) * 4);
    for chunk in png.chunks(3) {
        let at = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let word = (at(0) << 16) | (at(1) << 8) | at(2);
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= chunk.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    let mut out = String::new();
    let caption = crate::downstream::report::html::escape(caption);
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "<figure><img alt=\"{caption}\" \
         src=\"data:image/png;base64,{text}\"><figcaption>{caption}</figcaption></figure>"
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_laid_out_in_rows_and_read_again() {
        let signals: Vec<f64> = (0..3).flat_map(|i| [f64::from(i); 4]).collect();
        let file = montage(&signals, 2, 2).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&file))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        let step = 2 * ZOOM + GAP;
        assert_eq!(
            (info.width as usize, info.height as usize),
            (2 * step + GAP, 2 * step + GAP)
        );
        let at = |row: usize, column: usize| pixels[row * info.width as usize + column];
        assert_eq!(at(0, 0), 255);
        assert_eq!(
            [at(GAP, GAP), at(GAP, GAP + step), at(GAP + step, GAP)],
            [0, 127, 255]
        );
    }

    #[test]
    fn base_64_is_that_of_the_standard() {
        for (bytes, text) in [
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert!(embedded(bytes.as_bytes(), "c").contains(&format!("base64,{text}\"")));
        }
    }
}
