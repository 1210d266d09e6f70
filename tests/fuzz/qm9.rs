//! QM9's own files.

use super::Target;
use super::systems::READER;

pub const TARGET: Target = Target {
    corpus: || vec![METHANE.into()],
    words: &["gdb ", "*^-6", "\t", "18446744073709551615"],
    ending: ".xyz",
    ..READER
};

const METHANE: &str = "5
gdb 1\t157.7\t157.7\t157.7\t0.0\t13.21\t-0.38\t0.11\t0.5\t35.3\t0.04\t-40.4\t-40.4\t-40.4\t-40.5\t6.4
C\t-0.0126\t1.0858\t0.0080\t-0.53
H\t0.0021\t-0.0060\t0.0019\t0.13
H\t1.0117\t1.4637\t2.0*^-4\t0.13
H\t-0.5408\t1.4475\t-0.8766\t0.13
H\t-0.5238\t1.4379\t0.9063\t0.13
1341.3\t1341.3
C\tC
InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4
";
