//! ProteinNet text.

use super::Target;
use holosig::data::proteinnet::{Fields, read, structures};
use holosig::data::Split;

pub const TARGET: Target = Target {
    corpus: || vec![text().into_bytes()],
    words: &["[ID]", "[PRIMARY]", "[EVOLUTIONARY]", "[TERTIARY]", "[MASK]", "[NEW]", "+", "-", "\n\n"],
    ending: "",
    read: |path| {
        read(path, Fields::Sequence, |_| Ok(()))?;
        structures(&[(path, Split::Train)]).map(drop)
    },
};

fn text() -> String {
    let numbers = |n: usize, step: f64| {
        let all: Vec<String> = (0..n).map(|i| format!("{:.1}", i as f64 * step)).collect();
        all.join("\t")
    };
    let record = |id: &str, sequence: &str| {
        let length = sequence.len();
        let profile: String = (0..21).map(|_| numbers(length, 0.1) + "\n").collect();
        let places: String = (1..4).map(|k| numbers(3 * length, 40.5 * k as f64) + "\n").collect();
        let mask = "+".repeat(length - 1) + "-";
        format!(
            "[ID]\n{id}\n[PRIMARY]\n{sequence}\n[EVOLUTIONARY]\n{profile}[TERTIARY]\n{places}[MASK]\n{mask}\n\n"
        )
    };
    record("1A2B_1_A", "AGW") + &record("TBM#T0285", "MX")
}
