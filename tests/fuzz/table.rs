//! Tables of users: every column of every row, and the two tables with columns of fixed names.

use super::Target;
use holosig::data::choice::Choice;
use holosig::data::complexes::manifest;
use holosig::data::table::Table;

pub const TARGET: Target = Target {
    corpus: || vec![COMPLEXES.into(), SPLITS.into(), "a;b\n1;\"x\ny\"\n".into()],
    words: &["id", "split", "protein_file", "ligand", "pK", "train", "validation", "\t", ";", "\"\"", "a/b"],
    ending: ".csv",
    read: |path| {
        let table = Table::read(path)?;
        for row in table.rows() {
            for column in 0..table.columns().len() {
                row.parse::<f64>(column, "a number").ok();
            }
        }
        // Either may refuse what the other takes.
        let complexes = manifest::read(path, &[]).map(drop);
        Choice::from_csv(path).map(drop).or(complexes)
    },
};

const COMPLEXES: &str = "\u{feff},id,protein_file,ligand,pK,split\n0,a,p.pdb,LIG:A:401,7.5,train\n1,b,q.pdb,l.sdf,,test\n";
const SPLITS: &str = "id,split,chain\n1abc,train,A\n2abc,validation,\n";
