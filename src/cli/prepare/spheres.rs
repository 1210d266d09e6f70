//! What `holosig prepare images`, `prepare shapes` and `sphere` end with.

use crate::Result;
use crate::data::Split;
use crate::data::spheres::{Sample, Signal, Spheres};
use crate::tasks::spheres::norm_factor;
use std::path::Path;

/// Writes the file and tells what is in it.
pub fn finish(signal: &Signal, samples: Vec<Sample>, settings: String, out: &Path) -> Result<()> {
    let data = Spheres::pack(signal.clone(), samples, settings)?;
    let digest = data.write(out)?;
    let count = |s: Split| format!("{} {s}", data.split(s).len());
    crate::say!(
        "{}: {} signals of {} coefficients: {}",
        out.display(),
        data.len(),
        data.dim(),
        Split::ALL.map(count).join(", ")
    );
    if !data.split(Split::Train).is_empty() {
        crate::say!(
            "mean size of the training signals: {:.5}",
            norm_factor(&data)?
        );
    }
    crate::say!("fingerprint: {digest}");
    for split in [Split::Train, Split::Validation] {
        if data.split(split).is_empty() {
            log::warn!("no signal is for {split}: training needs some");
        }
    }
    Ok(())
}
