//! Which structures go into a dataset, with which chains, and into which split.

use super::choice::Choice;
use super::dataset::Chosen;
use super::prepare::{Fractions, StructureFile};
use super::structure::{Structure, without_model};

/// How structures are chosen.
pub enum Selection {
    /// All of them, split by chance.
    Chance(Fractions),
    /// Those that lists name.
    Listed(Choice),
}

/// What a selection makes of the structures that were read.
#[derive(Debug, Default)]
pub struct Selected {
    pub chosen: Vec<Chosen>,
    /// Entries and chains that the lists name and no structure has.
    pub missing: Vec<String>,
}

impl Selection {
    /// The files that can hold something that is wanted, and how many others there were.
    pub fn files(&self, files: Vec<StructureFile>) -> (Vec<StructureFile>, usize) {
        let all = files.len();
        let wanted: Vec<StructureFile> = match self {
            Selection::Chance(_) => files,
            Selection::Listed(choice) => files
                .into_iter()
                .filter(|f| choice.find(&f.id).is_some())
                .collect(),
        };
        let others = all - wanted.len();
        (wanted, others)
    }

    /// Chooses chains and splits. A structure without any of the chains wanted is left out.
    pub fn select(&self, structures: Vec<Structure>) -> Selected {
        let choice = match self {
            Selection::Chance(fractions) => {
                return Selected {
                    chosen: fractions.assign(structures),
                    missing: Vec::new(),
                };
            }
            Selection::Listed(choice) => choice,
        };
        let mut selected = Selected::default();
        let mut found: Vec<(String, Vec<String>)> = Vec::new();
        for structure in structures {
            let name = without_model(&structure.id).to_string();
            let there = centred_chains(&structure);
            if let Some((split, wanted)) = choice.find(&name) {
                let chains = wanted.as_ref().map(|wanted| {
                    let both = wanted.iter().filter(|c| there.contains(c));
                    both.cloned().collect::<Vec<_>>()
                });
                if chains.as_ref().is_none_or(|c| !c.is_empty()) {
                    selected.chosen.push(Chosen {
                        structure,
                        split,
                        chains,
                        complex: None,
                    });
                }
            }
            found.push((name, there));
        }
        selected.missing = choice.missing(found.iter().map(|(n, c)| (n.as_str(), &c[..])));
        selected
    }
}

/// Chains with at least one centre, in order.
fn centred_chains(s: &Structure) -> Vec<String> {
    let mut chains: Vec<String> = Vec::new();
    for &atom in &s.centres {
        let chain = s.system.residue(atom).chain;
        if !chains.iter().any(|c| c == chain.as_str()) {
            chains.push(chain.to_string());
        }
    }
    chains
}
