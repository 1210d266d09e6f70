//! Arrays of NumPy.

use super::*;
use std::io::Write;

/// An npy array of f64, or of u8 where `kind` says so.
fn npy(kind: &str, shape: &str, values: &[f64]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    for value in values {
        match kind {
            "|u1" => bytes.push(*value as u8),
            _ => bytes.extend(value.to_le_bytes()),
        }
    }
    bytes
}

/// A zip archive of entries, deflated or stored.
fn zip(entries: &[(&str, Vec<u8>)], deflated: bool) -> Vec<u8> {
    let (mut out, mut central) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let mut packer =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(content).unwrap();
        let packed = if deflated {
            packer.finish().unwrap()
        } else {
            content.clone()
        };
        let mut common = Vec::new();
        common.extend([20, 0, 0, 0]);
        common.extend([if deflated { 8 } else { 0 }, 0, 0, 0, 0, 0]);
        common.extend(crc.sum().to_le_bytes());
        common.extend((packed.len() as u32).to_le_bytes());
        common.extend((content.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        let start = out.len() as u32;
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(name.as_bytes());
        out.extend(packed);
        central.extend(b"PK\x01\x02\x14\x00");
        central.extend(&common);
        central.extend([0; 10]);
        central.extend(start.to_le_bytes());
        central.extend(name.as_bytes());
    }
    let (start, count) = (out.len() as u32, entries.len() as u16);
    let length = central.len() as u32;
    out.extend(central);
    out.extend(b"PK\x05\x06\x00\x00\x00\x00");
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(length.to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    out
}

fn rmd17(forces: &str, deflated: bool) -> Vec<u8> {
    let coordinates: Vec<f64> = (0..18).map(f64::from).collect();
    let entries = [
        ("nuclear_charges.npy", npy("|u1", "(3,)", &[8.0, 1.0, 1.0])),
        ("coords.npy", npy("<f8", "(2, 3, 3)", &coordinates)),
        ("energies.npy", npy("<f8", "(2,)", &[-10.5, -11.5])),
        ("forces.npy", npy("<f8", forces, &coordinates)),
        ("old_energies.npy", npy("<f8", "(2,)", &[1.0, 2.0])),
        ("old_forces.npy", npy("<f8", "(2, 3, 3)", &[0.5; 18])),
    ];
    zip(&entries, deflated)
}

#[test]
fn npz_files_have_frames_of_one_molecule() {
    for deflated in [true, false] {
        let bytes = rmd17("(2, 3, 3)", deflated);
        let samples = read_as("mol_train_01.npz", &bytes).unwrap();
        assert_eq!(samples.len(), 2);
        assert_eq!(samples[1].id, "mol_train_01:1");
        assert_eq!(samples[1].split, Some(Split::Train));
        assert_eq!(samples[1].system.numbers, [8, 1, 1]);
        assert_eq!(samples[1].system.positions[2], [15.0, 16.0, 17.0]);
        assert_eq!(
            samples[1].values,
            [crate::data::systems::Value::new(
                "energy", "kcal/mol", -11.5
            )]
        );
        assert_eq!(samples[0].forces.as_ref().unwrap()[1], [3.0, 4.0, 5.0]);
    }
    let bytes = rmd17("(2, 3, 3)", true);
    let options = Options {
        labels: Labels::Md17,
        convert: vec![("energy".into(), "kJ/mol".into())],
        ..Options::default()
    };
    let old = read_with("mol.npz", &bytes, &options).unwrap();
    assert!((old[1].values[0].value - 2.0 * 4.184).abs() < 1e-12);
    assert!((old[1].forces.as_ref().unwrap()[0][0] - 0.5 * 4.184).abs() < 1e-12);
    let error = refused("mol.npz", &rmd17("(2, 9)", true));
    assert!(
        error.contains("forces: shape [2, 9], where [2, 3, 3] is needed"),
        "{error}"
    );
    let error = refused("mol.npz", &bytes[..bytes.len() / 2]);
    assert!(
        error.contains("not an npz file, or a truncated one"),
        "{error}"
    );
    let mut damaged = bytes.clone();
    let place = damaged.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    damaged[place - 300] ^= 0xff;
    assert!(refused("mol.npz", &damaged).contains("damaged"));
    let numbers = |name: &str, shape: &str, values: &[f64]| {
        (format!("{name}.npy"), npy("<f8", shape, values))
    };
    let none = [
        numbers("z", "(0,)", &[]),
        numbers("R", "(1000000000000, 0, 3)", &[]),
    ];
    let none = none
        .each_ref()
        .map(|(name, array)| (name.as_str(), array.clone()));
    assert!(refused("mol.npz", &zip(&none, true)).contains("z: no atoms"));
    let bomb = [("z.npy", vec![0; 32 << 20])];
    let error = refused("mol.npz", &zip(&bomb, true));
    assert!(error.contains("z: damaged (33554432 bytes in "), "{error}");
    let unit = Options {
        units: vec![("energy".into(), "furlong".into())],
        ..Options::default()
    };
    let error = read_with("mol.npz", &bytes, &unit).unwrap_err().to_string();
    assert!(error.contains("unit \"furlong\" is not known"), "{error}");
}

#[test]
fn frames_without_labels_are_systems() {
    let entries = [
        ("z.npy", npy("|u1", "(1,)", &[8.0])),
        ("R.npy", npy("<f8", "(2, 1, 3)", &[0.0; 6])),
    ];
    let samples = read_as("mol.npz", &zip(&entries, true)).unwrap();
    assert_eq!(samples.len(), 2);
    assert!(samples[1].values.is_empty() && samples[1].forces.is_none());
    let options = Options {
        labels: Labels::Md17,
        ..Options::default()
    };
    let error = read_with("mol.npz", &zip(&entries, true), &options).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no array old_energies; it has z, R"),
        "{error}"
    );
}
