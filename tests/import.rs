//! Published models come in and go out again without a changed bit.

mod common;
#[path = "common/torch.rs"]
mod torch;

use common::{flip_byte, holosig, run};
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};
use std::process::Command;
use torch::{
    Array, archive, archive_with, dictionary, global, legacy, pickle, row_major, state_dict,
    tensor, text, tuple,
};
use zip::CompressionMethod;

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

/// The tensors of the published model as PyTorch would store them, one storage each.
fn published() -> (Vec<Array>, Vec<(String, Vec<u8>)>) {
    let mut tensors = candle_core::pickle::read_all(fixture("model.pt")).unwrap();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let pair = |(i, (name, tensor)): (usize, (String, candle_core::Tensor))| {
        let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        let shape: Vec<i64> = tensor.dims().iter().map(|&d| d as i64).collect();
        let array = Array {
            name,
            class: "FloatStorage",
            key: i.to_string(),
            stored: values.len() as i64,
            offset: 0,
            strides: row_major(&shape),
            shape,
        };
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        (array, (i.to_string(), bytes))
    };
    tensors.into_iter().enumerate().map(pair).unzip()
}

/// Imports a file; what was said, and the bytes of the checkpoint if there is one.
fn imported(file: &[u8]) -> (common::Outcome, Option<Vec<u8>>) {
    let dir = tempfile::tempdir().unwrap();
    let (model, out) = (dir.path().join("m.pt"), dir.path().join("c.h5"));
    std::fs::write(&model, file).unwrap();
    let told = run(&mut import(&model, &fixture("hparams.json"), &out));
    (told, std::fs::read(&out).ok())
}

#[test]
fn every_form_of_a_pytorch_file_gives_the_same_checkpoint() {
    let (_, whole) = imported(&std::fs::read(fixture("model.pt")).unwrap());
    let whole = whole.unwrap();
    let (arrays, storages) = published();
    let state = state_dict(&arrays);
    let renamed = |name: &dyn Fn(&str) -> String| {
        let rename = |a: &Array| Array {
            name: name(&a.name),
            ..a.clone()
        };
        state_dict(&arrays.iter().map(rename).collect::<Vec<_>>())
    };
    let parameter = [&global("torch._utils", "_rebuild_parameter")[..], b"("].concat();
    // What is not asked for need not be readable.
    let (mut gone, mut complex) = (arrays[0].clone(), arrays[0].clone());
    gone.key = "gone".into();
    complex.class = "ComplexFloatStorage";
    let moments = [
        ("0", tensor(&arrays[0])),
        ("1", tensor(&gone)),
        ("2", tensor(&complex)),
    ];
    let optimizer = dictionary(&[("state", dictionary(&moments))]);
    let unknown = [
        global("os", "system"),
        tuple(&[text("exit 1")]),
        b"R".to_vec(),
    ]
    .concat();
    let config = [
        global("a.b", "Config"),
        b")R}(".to_vec(),
        text("k"),
        b"K\x01ub".to_vec(),
    ];
    let checkpoint = |key| {
        dictionary(&[
            ("epoch", b"K\x05".to_vec()),
            ("optimizer", optimizer.clone()),
            ("hyper_parameters", config.concat()),
            ("callbacks", unknown.clone()),
            (key, state.clone()),
        ])
    };
    let mut parameters = b"}(".to_vec();
    for array in &arrays {
        let wrapped = [&parameter[..], &tensor(array), b"\x88}tR"].concat();
        parameters.extend([text(&array.name), wrapped].concat());
    }
    parameters.push(b'u');
    let bodies = [
        ("plain", state.clone()),
        ("state_dict", checkpoint("state_dict")),
        ("model", checkpoint("model")),
        (
            "deep",
            dictionary(&[("a", dictionary(&[("ema", state.clone())]))]),
        ),
        ("parallel", renamed(&|n| format!("module.{n}"))),
        ("compiled", renamed(&|n| format!("_orig_mod.module.{n}"))),
        // Some modules of it alone.
        (
            "partly compiled",
            renamed(&|n| n.replacen("blocks.0.", "blocks.0._orig_mod.", 1)),
        ),
        (
            "sharded",
            renamed(&|n| n.replacen('.', "._fsdp_wrapped_module.", 1)),
        ),
        ("lightning", renamed(&|n| format!("autoencoder.net.{n}"))),
        ("parameters", parameters),
    ];
    for (name, body) in bodies {
        let (told, file) = imported(&archive(&pickle(&body), &storages));
        assert!(file.as_ref() == Some(&whole), "{name}: {told:?}");
    }
    let numbers =
        |(key, bytes): &(String, Vec<u8>)| (key.clone(), bytes.len() as i64 / 4, bytes.clone());
    let old: Vec<_> = storages.iter().map(numbers).collect();
    let (told, file) = imported(&legacy(&pickle(&state), true, &old));
    assert!(file.as_ref() == Some(&whole), "legacy: {told:?}");
}

#[test]
fn one_storage_of_any_type_and_order_serves_all_tensors() {
    let (mut arrays, storages) = published();
    // All tensors in one storage, every matrix with its axes in the other order in memory.
    let mut all: Vec<f32> = Vec::new();
    for (array, (_, bytes)) in arrays.iter_mut().zip(&storages) {
        let values: Vec<f32> = bytes
            .chunks_exact(4)
            .map(|b| half::bf16::from_f32(f32::from_le_bytes(b.try_into().unwrap())).to_f32())
            // Of both 16-bit types.
            .map(|v| half::f16::from_f32(v).to_f32())
            .collect();
        array.key = "all".into();
        array.offset = all.len() as i64;
        match array.shape[..] {
            [rows, columns] => {
                array.strides = vec![1, rows];
                let (rows, columns) = (rows as usize, columns as usize);
                let turned = (0..rows * columns).map(|i| values[i % rows * columns + i / rows]);
                all.extend(turned);
            }
            _ => all.extend(values),
        }
    }
    let file = |class: &'static str, bytes: Vec<u8>| {
        let arrays: Vec<Array> = arrays
            .iter()
            .map(|a| Array {
                class,
                stored: all.len() as i64,
                ..a.clone()
            })
            .collect();
        archive(&pickle(&state_dict(&arrays)), &[("all".into(), bytes)])
    };
    let bytes_of = |f: &dyn Fn(f32) -> Vec<u8>| all.iter().flat_map(|&v| f(v)).collect::<Vec<u8>>();
    let f32s = file("FloatStorage", bytes_of(&|v| v.to_le_bytes().to_vec()));
    let f64s = file(
        "DoubleStorage",
        bytes_of(&|v| f64::from(v).to_le_bytes().to_vec()),
    );
    let brains = file(
        "BFloat16Storage",
        bytes_of(&|v| half::bf16::from_f32(v).to_le_bytes().to_vec()),
    );
    let halves = file(
        "HalfStorage",
        bytes_of(&|v| half::f16::from_f32(v).to_le_bytes().to_vec()),
    );
    let (told, expected) = imported(&f32s);
    assert!(expected.is_some(), "{told:?}");
    for (name, other) in [("f64", f64s), ("bf16", brains), ("f16", halves)] {
        let (told, file) = imported(&other);
        assert!(file == expected, "{name}: {told:?}");
    }
}

/// An archive whose table of contents has other bytes at a place in the record of an entry.
fn relisted(file: &[u8], entry: &str, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut names = file.windows(entry.len());
    let record = names.rposition(|w| w == entry.as_bytes()).unwrap() - 46;
    assert!(file[record..].starts_with(b"PK\x01\x02"));
    let (before, rest) = file.split_at(record + at);
    [before, bytes, &rest[bytes.len()..]].concat()
}

#[test]
fn a_pytorch_file_that_cannot_be_read_is_refused_with_the_way_out() {
    let (arrays, storages) = published();
    let whole = pickle(&state_dict(&arrays));
    let one = |change: &dyn Fn(&mut Array)| {
        let mut arrays = arrays.clone();
        change(&mut arrays[0]);
        archive(&pickle(&state_dict(&arrays)), &storages)
    };
    let object = [&global("my.models", "Net")[..], b")\x81}b"].concat();
    let both = dictionary(&[("a", state_dict(&arrays)), ("b", state_dict(&arrays))]);
    let sparse = [
        &global("torch._utils", "_rebuild_sparse_tensor")[..],
        b"(K\x01tR",
    ]
    .concat();
    let mut cut = storages.clone();
    cut[0].1.pop();
    let mut entry = archive(&whole, &storages);
    let first = |at, bytes: &[u8]| relisted(&entry, "model/data/0", at, bytes);
    // The method of compression; both sizes.
    let (packed, bomb) = (first(10, &[8, 0]), first(20, &[0x7f; 8]));
    entry.truncate(entry.len() / 2);
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "object",
            archive(&pickle(&object), &[]),
            "an object of the class my.models.Net",
        ),
        (
            "twice",
            archive(&pickle(&both), &storages),
            "tensors lie under both \"a\" and \"b\"",
        ),
        (
            "nothing",
            archive(&pickle(b"}"), &[]),
            "an empty dictionary",
        ),
        (
            "big",
            archive_with(&whole, &storages, CompressionMethod::Stored, "big"),
            "big-endian",
        ),
        ("old big", legacy(&whole, false, &[]), "big-endian"),
        ("cut entry", archive(&whole, &cut), "damaged or cut off"),
        (
            "no entry",
            archive(&whole, &storages[1..]),
            "no entry \"model/data/0\"",
        ),
        ("cut file", entry, "not a PyTorch state dict"),
        (
            "packed",
            packed,
            "\"model/data/0\" is compressed or encrypted",
        ),
        ("bomb", bomb, "\"model/data/0\" of 2139062143 bytes, where "),
        (
            "sparse",
            archive(&pickle(&dictionary(&[("x", sparse)])), &[]),
            "missing tensor",
        ),
        (
            "complex",
            one(&|a| a.class = "ComplexFloatStorage"),
            "has numbers of type ComplexFloat",
        ),
        ("far", one(&|a| a.offset = 1), "goes beyond its storage"),
        ("before", one(&|a| a.offset = -1), "has a bad offset"),
        (
            "huge",
            one(&|a| (a.shape, a.strides) = (vec![i64::MAX; 2], vec![1; 2])),
            "goes beyond its storage",
        ),
        (
            "wide",
            one(&|a| a.strides[0] = i64::MAX),
            "goes beyond its storage",
        ),
        (
            "missing storage",
            one(&|a| a.key = "../0".into()),
            "no entry \"model/data/../0\"",
        ),
        ("gzip", b"\x1f\x8b\x08\0".to_vec(), "a gzip file"),
        (
            "lfs",
            b"version https://git-lfs.github.com/spec/v1\n".to_vec(),
            "Git LFS",
        ),
        (
            "pickle",
            pickle(&dictionary(&[])),
            "a pickle that torch.save did not write",
        ),
    ];
    for (name, bytes, told) in cases {
        let (outcome, file) = imported(&bytes);
        assert_eq!(outcome.code, 2, "{name}: {outcome:?}");
        assert!(outcome.stderr.contains(told), "{name}: {outcome:?}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{name}: {outcome:?}");
        assert!(outcome.stderr.contains("m.pt: "), "{name}: {outcome:?}");
        // What was understood, but is no state dict of this machine's, can be saved anew.
        let anew = ["object", "twice", "nothing", "big", "pickle"].contains(&name);
        let remedy = outcome.stderr.contains("safetensors.torch.save_file(");
        assert!(!anew || remedy, "{name}: {outcome:?}");
        assert_eq!(file, None, "{name}");
    }
}
