use super::*;
use crate::models::Describes;

const SMALL: &str = include_str!("../../../../tests/fixtures/published_small/hparams.json");

fn changed(change: impl FnOnce(&mut Value)) -> Result<Description> {
    let mut json: Value = serde_json::from_str(SMALL).unwrap();
    change(&mut json);
    from_json(&json.to_string())
}

#[test]
fn a_published_file_is_understood_and_written_back() {
    let d = from_json(SMALL).unwrap();
    assert_eq!(d.norm_factor, 0.6333136558532715);
    assert_eq!(d.zernike.irreps().dim(), 940);
    assert_eq!(d.model.channels, [12, 12, 12, 16, 16, 16]);
    assert_eq!(d.model.degrees.as_deref(), Some(&[4, 4, 4, 4, 2, 1][..]));
    assert_eq!(d.model.norm, Norm::default());
    assert_eq!(from_json(&to_json(&d).unwrap()).unwrap(), d);
    assert_eq!(Description::from_toml(&d.to_toml().unwrap()).unwrap(), d);
}

/// Everything that the published file says about model and input is said again.
#[test]
fn what_is_written_equals_what_was_read() {
    let was: Value = serde_json::from_str(SMALL).unwrap();
    let is: Value = serde_json::from_str(&to_json(&from_json(SMALL).unwrap()).unwrap()).unwrap();
    assert_eq!(is["model_hparams"], was["model_hparams"]);
    for key in [
        "rcut",
        "lmax",
        "rmax",
        "channels",
        "rst_normalization",
        "normalize_input",
    ] {
        assert_eq!(is[key], was[key], "{key}");
    }
}

#[test]
fn every_option_reaches_the_settings() {
    let model = |name: &'static str, value: Value| {
        changed(|j| j["model_hparams"][name] = value).unwrap().model
    };
    assert_eq!(model("norm_type", Value::Null).norm, Norm::None);
    assert_eq!(
        model("norm_balanced", true.into()).norm,
        Norm::Signal {
            affine: SignalAffine::PerL,
            balance: Some(1.0)
        }
    );
    assert_eq!(model("lmax_list", Value::Null).degrees, None);
    assert_eq!(
        model("bottleneck_hidden_dims", vec![32, 16].into()).hidden,
        [32, 16]
    );
    assert_eq!(
        model("do_initial_linear_projection", false.into()).projection,
        None
    );
    assert!(model("is_vae", true.into()).variational);
    assert!(!model("learn_frame", false.into()).learn_frame);
    assert!(!model("filter_symmetric", false.into()).symmetric);
    let layer = changed(|j| {
        j["model_hparams"]["norm_type"] = "layer_nonlin".into();
        j["model_hparams"]["norm_affine"] = true.into();
        j["model_hparams"]["norm_nonlinearity"] = "swish".into();
    });
    assert_eq!(
        layer.unwrap().model.norm,
        Norm::LayerNonlin {
            affine: true,
            activation: Activation::Swish
        }
    );
    assert_eq!(
        changed(|j| j["normalize_input"] = false.into())
            .unwrap()
            .norm_factor,
        1.0
    );
    let none = changed(|j| j["rst_normalization"] = Value::Null).unwrap();
    assert_eq!(none.zernike.weighting, Weighting::None);
}

#[test]
fn what_is_not_supported_is_named() {
    type Change = fn(&mut Value);
    let told = |change: Change| changed(change).unwrap_err().to_string();
    let cases: [(&str, Change); 10] = [
        ("norm_type = instance is not supported", |j| {
            j["model_hparams"]["norm_type"] = "instance".into()
        }),
        ("norm_location is not supported", |j| {
            j["model_hparams"]["norm_location"] = "middle".into()
        }),
        ("ls_nonlin_rule_list is not supported", |j| {
            j["model_hparams"]["ls_nonlin_rule_list"][2] = "fast".into()
        }),
        ("unknown field `dropout`", |j| {
            j["model_hparams"]["dropout"] = 0.1.into()
        }),
        ("missing field `latent_dim`", |j| {
            j["model_hparams"]
                .as_object_mut()
                .unwrap()
                .remove("latent_dim");
        }),
        ("channels = SASA is not supported", |j| {
            j["channels"][3] = "SASA".into()
        }),
        ("rst_normalization = cube", |j| {
            j["rst_normalization"] = "cube".into()
        }),
        ("collected_lmax = 6", |j| j["collected_lmax"] = 6.into()),
        ("unknown field `n_channels`", |j| j["n_channels"] = 7.into()),
        ("input_normalizing_constant is null", |j| {
            j["model_hparams"]["input_normalizing_constant"] = Value::Null
        }),
    ];
    for (text, change) in cases {
        let told = told(change);
        assert!(told.contains(text), "{told:?} does not say {text:?}");
    }
    assert!(
        from_json("{")
            .unwrap_err()
            .to_string()
            .contains("not a JSON object")
    );
}

#[test]
fn what_the_published_file_cannot_say_is_refused() {
    let mut d = from_json(SMALL).unwrap();
    d.zernike.binomial = Binomial::Exact;
    assert!(to_json(&d).unwrap_err().to_string().contains("binomial"));
    d.zernike.binomial = Binomial::Published;
    d.zernike.channels.push(Channel::OTHER);
    assert!(to_json(&d).unwrap_err().to_string().contains("other"));
}
