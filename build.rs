//! With the feature `cuda`: compiles `kernels/*.cu` to PTX, the text that NVIDIA's driver
//! translates for the GPU it finds. Built for compute capability 8.0, it loads on that (A100) and
//! on every later one (H100, H200, ...). No GPU is needed here.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Oldest GPU that the kernels run on.
const ARCHITECTURE: &str = "compute_80";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    for name in ["CUDA_HOME", "CUDA_PATH", "NVCC", "NVCC_CCBIN", "PATH"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    println!("cargo:rerun-if-changed=kernels");
    if let Err(message) = compile_all() {
        eprintln!("error: {message}");
        std::process::exit(1);
    }
}

fn compile_all() -> Result<(), String> {
    let nvcc = nvcc()?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let files = std::fs::read_dir("kernels").map_err(|e| format!("kernels: {e}"))?;
    let mut sources: Vec<PathBuf> = files
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "cu"))
        .collect();
    sources.sort();
    let mut modules = String::from("&[\n");
    for source in &sources {
        let ptx = compile(&nvcc, source, &out)?;
        let name = source.file_stem().unwrap_or_default().to_string_lossy();
        modules += &format!("    ({name:?}, include_str!({ptx:?})),\n");
    }
    modules += "]\n";
    std::fs::write(out.join("modules.rs"), modules).map_err(|e| format!("modules.rs: {e}"))
}

fn compile(nvcc: &Path, source: &Path, out: &Path) -> Result<PathBuf, String> {
    let ptx = out.join(source.with_extension("ptx").file_name().unwrap_or_default());
    let mut command = Command::new(nvcc);
    command
        .args([
            "-ptx",
            "-O3",
            "-std=c++17",
            "-arch",
            ARCHITECTURE,
            "-I",
            "kernels",
        ])
        .arg("-o")
        .arg(&ptx)
        .arg(source);
    if let Some(compiler) = std::env::var_os("NVCC_CCBIN") {
        command.arg("-ccbin").arg(compiler);
    }
    let done = command
        .output()
        .map_err(|e| format!("{}: {e}", nvcc.display()))?;
    let told = String::from_utf8_lossy(&done.stderr);
    match done.status.success() {
        true => Ok(ptx),
        false => Err(format!(
            "{} cannot compile {}:\n{told}",
            nvcc.display(),
            source.display()
        )),
    }
}

/// The compiler: `$NVCC`, below `$CUDA_HOME` or `$CUDA_PATH`, on the PATH, or in the usual place.
fn nvcc() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("NVCC") {
        return Ok(path.into());
    }
    let below = |root: PathBuf| root.join("bin/nvcc");
    let roots = ["CUDA_HOME", "CUDA_PATH"]
        .into_iter()
        .filter_map(std::env::var_os)
        .map(|root| below(root.into()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = std::env::split_paths(&path)
        .map(|d| d.join("nvcc"))
        .collect();
    roots
        .chain(on_path)
        .chain([below("/usr/local/cuda".into())])
        .find(|p| p.is_file())
        .ok_or_else(|| {
            "the feature `cuda` needs nvcc, which is neither below $CUDA_HOME nor on the PATH: \
             run `scripts/setup.sh --cuda` and `. scripts/env.sh`, or `module load cuda`"
                .into()
        })
}
