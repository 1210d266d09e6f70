//! Adam: the bits of the CPU's.

use crate::host::Data;
use crate::{random, run};
use holosig::ops::device::adam;
use holosig::train::optimizer::{AdamSettings, Decay, update};

#[test]
fn adam_has_the_bits_of_the_cpu() {
    for (len, wide, decay) in [1, 3, 4, 1027, 70_001]
        .map(|l| [(l, true, Decay::L2), (l, false, Decay::Decoupled)])
        .concat()
    {
        let settings = AdamSettings {
            weight_decay: 0.01,
            decay,
            ..AdamSettings::default()
        };
        let mut p = random(1, len);
        let (mut first, mut second) = (vec![0.0; len], vec![0.0; len]);
        let mut state = [p.clone(), vec![], first.clone(), second.clone()];
        for step in 0..3 {
            let g = random(10 + step, len);
            let numbers = adam::Step {
                scale: [1.0, 0.3, 1.0][step as usize],
                ..settings.step(step, 2.5e-3)
            };
            update(&numbers, &mut p, &g, [&mut first, &mut second]);
            state[1] = g;
            let inputs = state.each_ref().map(|x| Data::F32(x.clone()));
            let results = run("adam", &adam::step(&numbers, len, wide), &inputs);
            for (x, data) in state.iter_mut().zip(results.inputs) {
                let Data::F32(data) = data else {
                    unreachable!("all inputs are f32")
                };
                *x = data;
            }
            assert_eq!(state[0], p, "parameters, {len}, step {step}");
            assert_eq!(state[2], first, "first moments, {len}, step {step}");
            assert_eq!(state[3], second, "second moments, {len}, step {step}");
        }
    }
}
