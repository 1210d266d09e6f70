//! Which atoms become nodes.

/// A choice of nodes. Water and ions are never nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Every heavy atom.
    All,
    /// N, CA, C and O of amino acids.
    Backbone,
    /// CA of amino acids.
    Ca,
    /// One node per residue, at the mean place of its heavy atoms.
    Residue,
    /// Atoms by an expression of chemfiles' selection language, hydrogens included; also with
    /// `protein`, `backbone` and ranges as `resid 1:5`, which other programs' languages have.
    Expression(String),
}

/// An expression with those words in chemfiles' own language; `amino_acids` are the names that
/// these have in the system.
#[cfg(feature = "chemfiles")]
pub(super) fn translated(text: &str, amino_acids: &[&str]) -> String {
    let protein = match amino_acids {
        [] => "none".to_string(),
        names => format!("(resname {})", names.join(" ")),
    };
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let mut out: Vec<String> = Vec::new();
    while let Some(word) = words.next() {
        out.push(match word {
            "protein" => protein.clone(),
            "backbone" => format!("({protein} and name N CA C O)"),
            "resid" | "index" => {
                let mut values = Vec::new();
                while let Some(value) = words.next_if(|w| range(w).is_some()) {
                    values.extend(range(value));
                }
                within(word, &values)
            }
            other => other.to_string(),
        });
    }
    out.join(" ")
}

/// 1 to 5 of `1:5`, 7 to 7 of `7`.
#[cfg(feature = "chemfiles")]
fn range(word: &str) -> Option<[i64; 2]> {
    let (first, last) = word.split_once(':').unwrap_or((word, word));
    Some([first.parse().ok()?, last.parse().ok()?])
}

#[cfg(feature = "chemfiles")]
fn within(word: &str, ranges: &[[i64; 2]]) -> String {
    let one = |[first, last]: &[i64; 2]| match first == last {
        true => format!("{word} == {first}"),
        false => format!("({word} >= {first} and {word} <= {last})"),
    };
    match ranges {
        // A comparison follows.
        [] => word.to_string(),
        _ => format!(
            "({})",
            ranges.iter().map(one).collect::<Vec<_>>().join(" or ")
        ),
    }
}

#[cfg(all(test, feature = "chemfiles"))]
mod tests {
    use super::translated;

    #[test]
    fn words_of_other_languages_are_understood() {
        let of = |text| translated(text, &["ALA", "HSE"]);
        assert_eq!(of("protein and name CA"), "(resname ALA HSE) and name CA");
        assert_eq!(
            of("resid 1:5 and not (backbone)"),
            "((resid >= 1 and resid <= 5)) and not ( ((resname ALA HSE) and name N CA C O) )"
        );
        assert_eq!(
            of("resid 3 -2:4"),
            "(resid == 3 or (resid >= -2 and resid <= 4))"
        );
        assert_eq!(of("resid < 50"), "resid < 50");
        assert_eq!(translated("protein", &[]), "none");
    }
}

impl std::str::FromStr for Selection {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        Ok(match text {
            "all" => Selection::All,
            "backbone" => Selection::Backbone,
            "ca" => Selection::Ca,
            "residue" => Selection::Residue,
            other => Selection::Expression(other.into()),
        })
    }
}

impl std::fmt::Display for Selection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Selection::All => "all",
            Selection::Backbone => "backbone",
            Selection::Ca => "ca",
            Selection::Residue => "residue",
            Selection::Expression(text) => text,
        })
    }
}
