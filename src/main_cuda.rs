//! `holosig-cuda`: the program of `main.rs` with GPU kernels. A target of its own, as it starts
//! only where NVIDIA's driver is.

include!("main.rs");
