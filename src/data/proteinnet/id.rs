//! The ids of ProteinNet records.

/// Whose structure a record holds.
///
/// | file | id | PDB entry | chain | class |
/// |---|---|---|---|---|
/// | training | `3J9M_35_a` (entry, chain number, chain) | `3j9m` | `a` | |
/// | training | `3VC5_d3vc5a1` (entry, ASTRAL domain) | `3vc5` | `A` | |
/// | | `d1a2b__`, `d1a2b--`, `d1a2b.1` (one unnamed or several chains) | `1a2b` | all | |
/// | validation | `30#1A2B_1_A` (sequence identity to the training set) | `1a2b` | `A` | `30` |
/// | testing | `TBM-hard#T0348` (CASP target) | none | all | `TBM-hard` |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordId {
    /// The id as written.
    pub text: String,
    /// What stands before `#`.
    pub class: Option<String>,
    /// What stands after it.
    pub name: String,
    /// The PDB entry, in lower case; `None` for a CASP target or a name of the user's own.
    pub pdb: Option<String>,
    /// The author's chain; `None` stands for all chains. ASTRAL writes chains in lower case
    /// where they are in upper case in the entry; so they are here. A domain stands for its
    /// whole chain.
    pub chain: Option<String>,
}

impl RecordId {
    pub fn new(text: &str) -> Self {
        let (class, name) = match text.split_once('#') {
            Some((class, name)) => (Some(class.to_owned()), name),
            None => (None, text),
        };
        let (pdb, chain) = match pdb_and_chain(name) {
            Some((pdb, chain)) => (Some(pdb.to_ascii_lowercase()), chain),
            None => (None, None),
        };
        Self {
            text: text.to_owned(),
            class,
            name: name.to_owned(),
            pdb,
            chain,
        }
    }
}

impl std::fmt::Display for RecordId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.text)
    }
}

fn pdb_and_chain(name: &str) -> Option<(&str, Option<String>)> {
    if is_pdb_id(name) {
        return Some((name, None));
    }
    if let Some(found) = astral(name) {
        return Some(found);
    }
    let (pdb, rest) = name.split_once('_').filter(|(pdb, _)| is_pdb_id(pdb))?;
    if let Some((inner, chain)) = astral(rest) {
        return inner.eq_ignore_ascii_case(pdb).then_some((pdb, chain));
    }
    let (number, chain) = rest.split_once('_')?;
    let numbered = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    (numbered && !chain.is_empty()).then(|| (pdb, Some(chain.to_owned())))
}

/// An identifier of an ASTRAL domain: `d`, PDB entry, chain, domain.
fn astral(name: &str) -> Option<(&str, Option<String>)> {
    if name.len() != 7 || !name.is_ascii() || !name.starts_with(['d', 'D']) {
        return None;
    }
    let (pdb, chain) = (&name[1..5], &name[5..6]);
    let chain = match chain {
        "_" | "-" | "." => None,
        _ => Some(chain.to_ascii_uppercase()),
    };
    let named = chain.as_ref().is_none_or(|c| is_alphanumeric(c));
    let domain = &name[6..];
    let known = matches!(domain, "_" | "-") || is_alphanumeric(domain);
    (is_pdb_id(pdb) && named && known).then_some((pdb, chain))
}

fn is_alphanumeric(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Whether `text` has the form of a four-character PDB id.
pub fn is_pdb_id(text: &str) -> bool {
    text.len() == 4 && matches!(text.as_bytes()[0], b'1'..=b'9') && is_alphanumeric(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        let cases = [
            ("1A2B_1_A", None, Some("1a2b"), Some("A")),
            ("3J9M_35_a", None, Some("3j9m"), Some("a")),
            ("4V4R_12_A1", None, Some("4v4r"), Some("A1")),
            ("d1a2b__", None, Some("1a2b"), None),
            ("d1a2ba_", None, Some("1a2b"), Some("A")),
            ("3VC5_d3vc5a1", None, Some("3vc5"), Some("A")),
            ("1OMW_d1omwg-", None, Some("1omw"), Some("G")),
            ("1ABC_d1abc--", None, Some("1abc"), None),
            ("1ABC_d1abc.1", None, Some("1abc"), None),
            ("1S72_d1s7212", None, Some("1s72"), Some("1")),
            ("30#1A2B_1_A", Some("30"), Some("1a2b"), Some("A")),
            ("90#2EUL_d2euld1", Some("90"), Some("2eul"), Some("D")),
            ("TBM#T0285", Some("TBM"), None, None),
            ("FM#T0350", Some("FM"), None, None),
            ("TBM-hard#T0348", Some("TBM-hard"), None, None),
            ("FM#T0859-D1", Some("FM"), None, None),
            ("1A2B", None, Some("1a2b"), None),
            ("1A2B_1_", None, None, None),
            ("1A2B_x_A", None, None, None),
            ("1A2B_d3vc5a1", None, None, None),
            ("my_protein", None, None, None),
            ("d1é2a_", None, None, None),
        ];
        for (text, class, pdb, chain) in cases {
            let id = RecordId::new(text);
            assert_eq!(id.class.as_deref(), class, "{text}");
            assert_eq!(id.pdb.as_deref(), pdb, "{text}");
            assert_eq!(id.chain.as_deref(), chain, "{text}");
            assert_eq!(id.to_string(), text);
        }
        assert_eq!(RecordId::new("TBM#T0285").name, "T0285");
    }
}
