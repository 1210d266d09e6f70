//! Weights in safetensors files.

use super::Target;
use super::torch::read_all;
use safetensors::{Dtype, serialize, tensor::TensorView};

pub const TARGET: Target = Target {
    corpus: || {
        let data: Vec<u8> = (0..24).collect();
        let view = |kind, shape: &[usize]| TensorView::new(kind, shape.to_vec(), &data).unwrap();
        let views = [("layer.weight", view(Dtype::F32, &[2, 3])), ("layer.bias", view(Dtype::F16, &[12]))];
        vec![serialize(views, None).unwrap()]
    },
    words: &["\"F32\"", "\"BF16\"", "\"BOOL\"", "\"shape\"", "\"data_offsets\"", "[", "]", "{", "}", "__metadata__"],
    ending: ".safetensors",
    read: read_all,
};
