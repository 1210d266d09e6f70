//! The Zernike transform of point clouds.

use crate::host::Data;
use crate::{close, random, run};
use holosig::ops::zernike::launches::{Tables, transform};
use holosig::ops::zernike::{Binomial, Channel, DROP, Settings, Transform, Weighting};

#[test]
fn zernike_transforms() {
    let many = (1..=9).map(Channel::element).collect();
    for (settings, sizes) in [
        (Settings::default(), vec![0, 1, 63, 64, 65, 200]),
        (
            Settings {
                lmax: 3,
                nmax: 5,
                channels: many,
                weighting: Weighting::None,
                binomial: Binomial::Exact,
                ..Settings::default()
            },
            vec![2, 0, 130],
        ),
        (
            Settings {
                lmax: 0,
                nmax: 0,
                channels: vec![Channel::OTHER],
                ..Settings::default()
            },
            vec![1],
        ),
        (
            Settings {
                lmax: 14,
                nmax: 40,
                ..Settings::default()
            },
            vec![70],
        ),
    ] {
        let atoms: usize = sizes.iter().sum();
        // Some beyond the cutoff, some at the centre, some dropped.
        let mut coordinates: Vec<[f32; 3]> = random(1, 3 * atoms).as_chunks().0.to_vec();
        for (i, xyz) in coordinates.iter_mut().enumerate() {
            let scale = if i % 41 == 7 { 0.0 } else { 8.0 };
            *xyz = xyz.map(|c| c * scale);
        }
        let kinds = settings.channels.len() as f32 + 0.5;
        let channels: Vec<u8> = random(2, atoms)
            .iter()
            .map(|r| (r.abs() * kinds) as u8)
            .collect();
        let channels: Vec<u8> = channels
            .iter()
            .map(|&c| {
                if usize::from(c) == settings.channels.len() {
                    DROP
                } else {
                    c
                }
            })
            .collect();
        let mut offsets = vec![0];
        for n in &sizes {
            offsets.push(offsets[offsets.len() - 1] + n);
        }
        let cpu = Transform::new(&settings).expect("valid settings");
        let mut want = vec![0.0; sizes.len() * cpu.irreps().dim()];
        cpu.apply(&coordinates, &channels, &offsets, &mut want)
            .expect("a transform");
        let scale = 0.75;
        want.iter_mut().for_each(|v| *v *= scale);
        let inputs = [
            Data::F32(coordinates.concat()),
            Data::U8(channels),
            Data::I32(offsets.iter().map(|&o| o as i32).collect()),
        ];
        let what = format!("Zernike transform to degree {}", settings.lmax);
        let s = transform(&Tables::new(&settings), sizes.len(), atoms, scale);
        close(&what, &run(&what, &s, &inputs).outputs[0], &want, 2e-6);
    }
}
