//! Event files of TensorBoard: what `metrics.jsonl` says of training and validation, as scalars.
//!
//! A file is a row of records: length (u64, little-endian), its masked CRC-32C, an `Event` message
//! in protocol buffers, its masked CRC-32C
//! (<https://www.tensorflow.org/tutorials/load_data/tfrecord>,
//! `tensorflow/core/util/event.proto`).

use crate::store::write_bytes;
use crate::{Error, Result};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// TensorBoard looks for files of such names, and reads them in the order of their names.
const PREFIX: &str = "events.out.tfevents.";
/// Ends the names of ours.
const SUFFIX: &str = ".holosig";

/// Records that hold scalars.
const EVENTS: [&str; 2] = ["train", "validation"];
/// Fields of records that are no scalars.
const OTHER: [&str; 4] = ["event", "step", "time", "epoch"];

/// The event file of a run; rank 0 writes it.
pub struct EventFile {
    path: PathBuf,
}

impl EventFile {
    /// Starts a file with the records of a metrics log, in the place of those that the folder has:
    /// it tells no more than the log does, which forgets what a killed run did after its last
    /// checkpoint.
    ///
    /// # Errors
    /// A folder that cannot be read or written.
    pub fn mirror(folder: &Path, records: &[Value]) -> Result<Self> {
        let old = ours(folder)?;
        let now = seconds() as u64;
        let (second, number) = match old.iter().map(|(number, _)| *number).max() {
            Some((second, number)) if second >= now => (second, number + 1),
            _ => (now, 0),
        };
        let path = folder.join(format!("{PREFIX}{second:010}.{number:03}{SUFFIX}"));
        let mut bytes = Vec::new();
        record(&mut bytes, &event(seconds(), 0, 3, b"brain.Event:2"));
        // A session that starts at step 0: whoever shows an older file forgets it.
        record(&mut bytes, &event(seconds(), 0, 7, &[0x08, 0x01]));
        for told in records {
            let kind = told["event"].as_str().unwrap_or_default();
            let (step, time) = (told["step"].as_u64(), told["time"].as_f64());
            let fields = told.as_object().into_iter().flatten();
            let summary = summary(kind, fields);
            if !summary.is_empty() {
                let (step, time) = (step.unwrap_or(0), time.unwrap_or(0.0));
                record(&mut bytes, &event(time, step, 5, &summary));
            }
        }
        write_bytes(&path, &bytes)?;
        for (_, old) in old {
            fs::remove_file(&old).map_err(|e| Error::io(&old, e))?;
        }
        Ok(Self { path })
    }

    /// Appends the numbers among the fields of a record of the metrics log.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn append(&self, kind: &str, step: u64, fields: &[(String, Value)]) -> Result<()> {
        let summary = summary(kind, fields.iter().map(|(name, value)| (name, value)));
        if summary.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        record(&mut bytes, &event(seconds(), step, 5, &summary));
        fs::OpenOptions::new()
            .append(true)
            .open(&self.path)
            .and_then(|mut f| f.write_all(&bytes))
            .map_err(|e| Error::io(&self.path, e))
    }
}

/// Second and number in a file's name.
type Number = (u64, u64);

/// The event files of ours in a folder.
fn ours(folder: &Path) -> Result<Vec<(Number, PathBuf)>> {
    let number = |path: &PathBuf| -> Option<Number> {
        let name = path.file_name()?.to_str()?;
        let name = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
        let (second, number) = name.split_once('.')?;
        Some((second.parse().ok()?, number.parse().ok()?))
    };
    let paths: std::io::Result<Vec<PathBuf>> =
        fs::read_dir(folder).and_then(|list| list.map(|e| e.map(|e| e.path())).collect());
    let paths = paths.map_err(|e| Error::io(folder, e))?;
    let named = paths.into_iter().filter_map(|p| Some((number(&p)?, p)));
    Ok(named.collect())
}

/// Seconds since 1970.
fn seconds() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0.0, |d| d.as_secs_f64())
}

/// `Summary` of the numbers among fields, under the names `KIND/FIELD`; empty for other kinds.
fn summary<'a>(kind: &str, fields: impl Iterator<Item = (&'a String, &'a Value)>) -> Vec<u8> {
    let mut out = Vec::new();
    if !EVENTS.contains(&kind) {
        return out;
    }
    for (name, value) in fields.filter(|(name, _)| !OTHER.contains(&name.as_str())) {
        let Some(value) = value.as_f64() else {
            continue;
        };
        let mut scalar = Vec::new();
        bytes_field(&mut scalar, 1, format!("{kind}/{name}").as_bytes());
        scalar.push(2 << 3 | 5); // simple_value, 32 bits
        scalar.extend((value as f32).to_le_bytes());
        bytes_field(&mut out, 1, &scalar);
    }
    out
}

/// `Event` with `content` in the field `number`.
fn event(time: f64, step: u64, number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![1 << 3 | 1]; // wall_time, 64 bits
    out.extend(time.to_le_bytes());
    out.push(2 << 3); // step
    varint(&mut out, step);
    bytes_field(&mut out, number, content);
    out
}

/// A field of bytes, of text or of a message.
fn bytes_field(out: &mut Vec<u8>, number: u8, content: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, content.len() as u64);
    out.extend(content);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn record(out: &mut Vec<u8>, content: &[u8]) {
    let len = (content.len() as u64).to_le_bytes();
    out.extend(len);
    out.extend(masked_crc(&len).to_le_bytes());
    out.extend(content);
    out.extend(masked_crc(content).to_le_bytes());
}

/// CRC-32C, turned and shifted so that the checksum of a text that holds checksums is a good one.
fn masked_crc(bytes: &[u8]) -> u32 {
    let crc = crc32c::crc32c(bytes);
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The checksum from its polynomial, bit by bit.
    fn crc(bytes: &[u8]) -> u32 {
        let mut crc = !0u32;
        for byte in bytes {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
            }
        }
        !crc
    }

    fn take<'a>(rest: &mut &'a [u8], n: usize) -> &'a [u8] {
        let (head, tail) = rest.split_at(n);
        *rest = tail;
        head
    }

    fn number(rest: &mut &[u8]) -> u64 {
        let mut shift = 0;
        let mut value = 0;
        loop {
            let byte = take(rest, 1)[0];
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return value;
            }
        }
    }

    /// Fields of a message: number, and bytes or the bits of a number.
    fn fields(mut rest: &[u8]) -> Vec<(u64, u64, Vec<u8>)> {
        let mut out = Vec::new();
        while !rest.is_empty() {
            let key = number(&mut rest);
            let (value, bytes) = match key & 7 {
                0 => (number(&mut rest), Vec::new()),
                1 => (0, take(&mut rest, 8).to_vec()),
                2 => {
                    let len = number(&mut rest) as usize;
                    (0, take(&mut rest, len).to_vec())
                }
                5 => (0, take(&mut rest, 4).to_vec()),
                other => panic!("wire type {other}"),
            };
            out.push((key >> 3, value, bytes));
        }
        out
    }

    /// Step, tag and value of all scalars of a folder's only file.
    fn scalars(folder: &Path) -> Vec<(u64, String, f32)> {
        let files = ours(folder).unwrap();
        assert_eq!(files.len(), 1);
        let bytes = fs::read(&files[0].1).unwrap();
        let (mut rest, mut out, mut seen) = (&bytes[..], Vec::new(), 0);
        while !rest.is_empty() {
            let mut checked = |n: usize| {
                let content = take(&mut rest, n);
                let masked = u32::from_le_bytes(take(&mut rest, 4).try_into().unwrap());
                let turned = masked.wrapping_sub(0xa282_ead8).rotate_left(15);
                assert_eq!(turned, crc(content));
                content
            };
            let len = u64::from_le_bytes(checked(8).try_into().unwrap());
            let event = fields(checked(len as usize));
            let step = event[1].1;
            match (seen, &event[2]) {
                (0, (3, _, version)) => assert_eq!(version, b"brain.Event:2"),
                (1, (7, _, log)) => assert_eq!(fields(log), [(1, 1, vec![])]),
                (_, (5, _, summary)) => {
                    for (_, _, scalar) in fields(summary) {
                        let scalar = fields(&scalar);
                        let tag = String::from_utf8(scalar[0].2.clone()).unwrap();
                        let value = f32::from_le_bytes(scalar[1].2[..].try_into().unwrap());
                        out.push((step, tag, value));
                    }
                }
                other => panic!("{other:?}"),
            }
            seen += 1;
        }
        out
    }

    #[test]
    fn a_file_holds_the_numbers_of_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let records = [
            json!({"event": "start", "step": 0, "ranks": 2, "time": 1.5}),
            json!({"event": "train", "step": 300, "epoch": 1, "objective": 0.5, "time": 2.5}),
            json!({"event": "validation", "step": 300, "mse": 0.25, "name": "x", "time": 3.5}),
        ];
        let file = EventFile::mirror(dir.path(), &records).unwrap();
        let more = [
            ("objective".into(), json!(0.125)),
            ("bad".into(), json!(f64::NAN)),
        ];
        file.append("train", 310, &more).unwrap();
        file.append("checkpoint", 310, &more).unwrap();
        let wanted = [
            (300, "train/objective".to_string(), 0.5),
            (300, "validation/mse".into(), 0.25),
            (310, "train/objective".into(), 0.125),
        ];
        assert_eq!(scalars(dir.path()), wanted);
        // A run that goes back begins a new file, whose name comes later.
        let first = ours(dir.path()).unwrap()[0].0;
        EventFile::mirror(dir.path(), &records).unwrap();
        assert_eq!(scalars(dir.path()), wanted[..2]);
        assert!(ours(dir.path()).unwrap()[0].0 > first);
    }

    #[test]
    fn checksums_are_the_published_ones() {
        // RFC 3720, B.4.
        assert_eq!(crc(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c::crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc(&[0xff; 32]), 0x62a8_ab43);
    }
}
