//! Adam: the bits of the CPU's.

use crate::host::Data;
use crate::{random, run};
use holosig::ops::device::adam;
use holosig::train::optimizer::{Adam, AdamSettings};

#[test]
fn adam_has_the_bits_of_the_cpu() {
    for len in [1, 3, 4, 1027, 70_001] {
        let settings = AdamSettings {
            weight_decay: 0.01,
            ..AdamSettings::default()
        };
        let mut p = random(1, len);
        let mut adam = Adam::new(settings, len);
        let mut state = [p.clone(), vec![], adam.first.clone(), adam.second.clone()];
        for step in 0..3 {
            let g = random(10 + step, len);
            let numbers = adam.clone().next(2.5e-3);
            adam.step(&mut p, &g, 2.5e-3);
            state[1] = g;
            let inputs = state.each_ref().map(|x| Data::F32(x.clone()));
            let results = run("adam", &adam::step(&numbers, len), &inputs);
            for (x, data) in state.iter_mut().zip(results.inputs) {
                let Data::F32(data) = data else {
                    unreachable!("all inputs are f32")
                };
                *x = data;
            }
            assert_eq!(state[0], p, "parameters, {len}, step {step}");
            assert_eq!(state[2], adam.first, "first moments, {len}, step {step}");
            assert_eq!(state[3], adam.second, "second moments, {len}, step {step}");
        }
    }
}
