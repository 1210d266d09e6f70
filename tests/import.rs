//! Published models come in and go out again without a changed bit.

mod common;

use common::{flip_byte, holosig, run};
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};
use std::process::Command;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/published_small")
        .join(name)
}

fn import(model: &Path, hparams: &Path, out: &Path) -> Command {
    let mut command = holosig();
    command
        .arg("import")
        .args([model, hparams])
        .arg("--out")
        .arg(out);
    command
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn import_then_export_gives_the_same_tensors_under_the_same_names() {
    let dir = tempfile::tempdir().unwrap();
    let (ckpt, out) = (
        dir.path().join("ckpt.h5"),
        dir.path().join("model.safetensors"),
    );
    let told = run(&mut import(
        &fixture("model.pt"),
        &fixture("hparams.json"),
        &ckpt,
    ))
    .success();
    assert!(told.stdout.contains("61713 parameters"), "{told:?}");
    run(holosig().arg("export").args([&ckpt, &out])).success();

    let published = candle_core::pickle::read_all(fixture("model.pt")).unwrap();
    let bytes = std::fs::read(&out).unwrap();
    let exported = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(exported.len(), published.len());
    for (name, tensor) in published {
        let ours = exported.tensor(&name).unwrap();
        assert_eq!(ours.shape(), tensor.dims(), "{name}");
        let theirs: Vec<u8> = tensor
            .flatten_all()
            .and_then(|t| t.to_vec1::<f32>())
            .unwrap()
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        assert!(ours.data() == theirs, "{name}");
    }

    let read = |p: &Path| -> serde_json::Value {
        serde_json::from_str(&std::fs::read_to_string(p).unwrap()).unwrap()
    };
    let hparams = read(&out.with_extension("json"));
    assert_eq!(
        hparams["model_hparams"],
        read(&fixture("hparams.json"))["model_hparams"]
    );

    // What was written can be read again, to the same bytes.
    let again = dir.path().join("again.h5");
    run(&mut import(&out, &out.with_extension("json"), &again)).success();
    assert!(std::fs::read(&ckpt).unwrap() == std::fs::read(&again).unwrap());
}

/// A copy of the hyper-parameter file with one text replaced.
fn changed_hparams(dir: &Path, from: &str, to: &str) -> PathBuf {
    let text = std::fs::read_to_string(fixture("hparams.json")).unwrap();
    assert!(text.contains(from));
    let path = dir.join("hparams.json");
    std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
    path
}

#[test]
fn what_does_not_fit_is_refused_by_name_and_leaves_nothing() {
    let cases = [
        (
            "\"latent_dim\": 8",
            "\"latent_dim\": 9",
            "tensor encoder_mean.weight has shape [8, 16]",
        ),
        (
            "\"is_vae\": false",
            "\"is_vae\": true",
            "missing tensor encoder_log_var.weight [8, 16]",
        ),
        (
            "\"learn_frame\": true",
            "\"learn_frame\": false",
            "extra tensor frame_learner.weights.1",
        ),
        (
            "\"signal\"",
            "\"instance\"",
            "norm_type = instance is not supported",
        ),
        ("\"is_vae\"", "\"is_wae\"", "unknown field `is_wae`"),
        ("\"rcut\": 10.0", "\"rcut\": ", "not a JSON object"),
    ];
    for (from, to, text) in cases {
        let dir = tempfile::tempdir().unwrap();
        let hparams = changed_hparams(dir.path(), from, to);
        let out = dir.path().join("ckpt.h5");
        let told = run(&mut import(&fixture("model.pt"), &hparams, &out)).failure(2, text);
        assert_eq!(told.stderr.lines().count(), 1, "{told:?}");
        assert_eq!(names(dir.path()), ["hparams.json"]);
    }
}

#[test]
fn files_that_are_no_model_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("ckpt.h5");
    let bad = dir.path().join("model.pt");
    let whole = std::fs::read(fixture("model.pt")).unwrap();
    let cases: [(&[u8], &str); 3] = [
        (b"", "model.pt: not a PyTorch state dict"),
        (b"not a model", "model.pt: not a PyTorch state dict"),
        (
            &whole[..whole.len() / 2],
            "model.pt: not a PyTorch state dict",
        ),
    ];
    for (bytes, text) in cases {
        std::fs::write(&bad, bytes).unwrap();
        run(&mut import(&bad, &fixture("hparams.json"), &out)).failure(2, text);
    }
    let nothing = dir.path().join("nothing.pt");
    run(&mut import(&nothing, &fixture("hparams.json"), &out))
        .failure(2, "nothing.pt: no such file");
    assert_eq!(names(dir.path()), ["model.pt"]);
}

#[test]
fn a_damaged_checkpoint_is_not_exported() {
    let dir = tempfile::tempdir().unwrap();
    let (ckpt, out) = (
        dir.path().join("ckpt.h5"),
        dir.path().join("model.safetensors"),
    );
    run(&mut import(
        &fixture("model.pt"),
        &fixture("hparams.json"),
        &ckpt,
    ))
    .success();
    flip_byte(&ckpt, 200_000);
    run(holosig().arg("export").args([&ckpt, &out])).failure(2, "ckpt.h5: damaged");
    assert_eq!(names(dir.path()), ["ckpt.h5"]);
}
