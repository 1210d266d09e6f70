use candle_core::{DType, Device, Tensor};
use holosig::models::Model;
use holosig::models::hvae::{Hvae, HvaeConfig};
use holosig::so3::irreps::Irreps;
fn main() {
    holosig::keep_freed_memory();
    let big = std::env::args().nth(1).unwrap() == "big";
    let (lmax, c) = if big {
        (
            6,
            "latent_dim = 128\nchannels = [60, 60, 60, 90, 128, 128]\ndegrees = [6, 6, 6, 4, 2, 1]\nprojection = 44",
        )
    } else {
        (
            4,
            "latent_dim = 64\nchannels = [50, 50, 50, 64, 64, 64]\ndegrees = [4, 4, 4, 4, 2, 1]\nprojection = 44",
        )
    };
    let irreps = Irreps::zernike(lmax, 20, 4);
    let config: HvaeConfig = toml::from_str(c).unwrap();
    let model = Hvae::new(&config, &irreps, 1, DType::F32, &Device::Cpu).unwrap();
    let x = Tensor::randn(0f32, 1.0, (64, irreps.dim()), &Device::Cpu).unwrap();
    let noise = Tensor::zeros((64, config.latent_dim), DType::F32, &Device::Cpu).unwrap();
    for _ in 0..20 {
        let (losses, ..) = model.losses_with(&x, &noise, &[1000.0, 0.0]).unwrap();
        let g = losses.objective.backward().unwrap();
        std::hint::black_box(model.parameters().gradients(&g).unwrap());
    }
}
