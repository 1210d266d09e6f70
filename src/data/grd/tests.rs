use super::*;

fn settings() -> Settings {
    Settings {
        nodes: 36,
        trajectories: 8,
        networks: Family::ALL.to_vec(),
        time: 2.0,
        ticks: 41,
        start: 25.0,
        decay: [1.0, 1.0],
        gain: [1.0, 1.0],
        noise: 0.0,
        seed: 5,
    }
}

fn frames(settings: Settings, index: usize) -> (Header, Vec<Vec<f32>>) {
    let mut frames = Vec::new();
    let source = Simulations::new(settings).unwrap();
    let header = source.produce(index, &mut |f: &[f32]| {
        frames.push(f.to_vec());
        Ok(())
    });
    (header.unwrap(), frames)
}

/// The same equation by the classical Runge-Kutta method with very small steps.
fn reference(network: &Network, order: i32, start: &[f64], time: f64, steps: usize) -> Vec<f64> {
    let slope = |x: &[f64]| -> Vec<f64> {
        let input = |i: usize| -> f64 {
            let of = network.neighbors(i).iter().map(|&j| x[j as usize]);
            of.map(|x| 1.0 - 1.0 / (x * x + 1.0)).sum()
        };
        (0..x.len()).map(|i| input(i) - x[i].powi(order)).collect()
    };
    let ahead = |x: &[f64], d: &[f64], h: f64| -> Vec<f64> {
        x.iter().zip(d).map(|(x, d)| x + h * d).collect()
    };
    let h = time / steps as f64;
    let mut x = start.to_vec();
    for _ in 0..steps {
        let a = slope(&x);
        let b = slope(&ahead(&x, &a, h / 2.0));
        let c = slope(&ahead(&x, &b, h / 2.0));
        let d = slope(&ahead(&x, &c, h));
        for i in 0..x.len() {
            x[i] += h / 6.0 * (a[i] + 2.0 * b[i] + 2.0 * c[i] + d[i]);
        }
    }
    x
}

#[test]
fn states_solve_the_equation() {
    for order in [1, 2] {
        let mut rng = ChaCha8Rng::seed_from_u64(order as u64);
        let network = Network::draw(Family::PowerLaw, 50, &mut rng);
        let fifty = Settings {
            nodes: 50,
            ..settings()
        };
        let start = draw_start(&network, &fifty, &mut rng);
        let expected = reference(&network, order as i32, &start, 2.0, 20_000);
        let halfway = reference(&network, order as i32, &start, 1.0, 10_000);
        let regulation = Regulation {
            network,
            decay: 1.0,
            order,
        };
        let states = integrate(&regulation, start.clone(), 2.0, 41).unwrap();
        assert_eq!((states.len(), &states[0]), (41, &start));
        for (got, want) in [(&states[40], &expected), (&states[20], &halfway)] {
            for (g, w) in got.iter().zip(want) {
                assert!(
                    (g - w).abs() < 2e-5 * (1.0 + w.abs()),
                    "order {order}: {g} {w}"
                );
            }
        }
    }
}

#[test]
fn one_gene_decays_as_by_hand() {
    let alone = |order| Regulation {
        network: Network::without_edges(1),
        decay: 0.5,
        order,
    };
    let end = |order| integrate(&alone(order), vec![20.0], 3.0, 7).unwrap()[6][0];
    assert!((end(1) - 20.0 * (-1.5f64).exp()).abs() < 1e-5);
    assert!((end(2) - 20.0 / (1.0 + 20.0 * 1.5)).abs() < 1e-6);
}

#[test]
fn trajectories_depend_on_seed_and_number_alone() {
    let (header, first) = frames(settings(), 3);
    assert_eq!((first.len(), first[0].len()), (41, 36));
    assert_eq!(header.time_step, Some(0.05));
    let more = Settings {
        trajectories: 100,
        ..settings()
    };
    assert_eq!((header, first.clone()), frames(more, 3));
    let other = Settings {
        seed: 6,
        ..settings()
    };
    assert_ne!(first, frames(other, 3).1);
    assert_ne!(first, frames(settings(), 4).1);
}

#[test]
fn noise_and_gain_act_on_observations_only() {
    let (_, exact) = frames(settings(), 2);
    let louder = Settings {
        noise: 0.5,
        gain: [2.0, 2.0],
        ..settings()
    };
    let (_, noisy) = frames(louder, 2);
    let errors: Vec<f64> = std::iter::zip(exact.concat(), noisy.concat())
        .map(|(e, n)| f64::from(n) / 2.0 - f64::from(e))
        .collect();
    let count = errors.len() as f64;
    let mean = errors.iter().sum::<f64>() / count;
    let spread = (errors.iter().map(|e| e * e).sum::<f64>() / count).sqrt();
    assert!(mean.abs() < 0.05, "{mean}");
    assert!((spread - 0.5).abs() < 0.03, "{spread}");
}

#[test]
fn nonsense_is_refused_by_name() {
    let refused = |change: fn(&mut Settings), option: &str| {
        let mut s = settings();
        change(&mut s);
        let text = s.validate().unwrap_err().to_string();
        assert!(text.starts_with(option), "{text}");
    };
    refused(|s| s.nodes = 3, "--nodes");
    refused(|s| s.trajectories = 1, "--trajectories");
    refused(|s| s.time = f64::NAN, "--time");
    refused(|s| s.ticks = 1, "--ticks");
    refused(|s| s.decay = [2.0, 1.0], "--decay");
    refused(|s| s.gain = [0.0, 1.0], "--gain");
    refused(|s| s.noise = -1.0, "--noise");
    refused(|s| s.networks.clear(), "--networks");
}
