//! The modules stand on floors and use lower floors only. The floors are those of the table in the
//! documentation of `src/lib.rs`; `docs/architecture.md` has the same table. Test modules are
//! exempt: a test may look at a part from above.

mod imports;

use imports::{circles, file_of, sources};
use std::collections::BTreeMap;
use std::path::PathBuf;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// Module to floor, from the rows `| 3 | [`models`], ... |` of a table.
fn floors(text: &str, before: &str) -> BTreeMap<String, u32> {
    let mut floors = BTreeMap::new();
    for row in text.lines().filter_map(|l| l.strip_prefix(before)) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let Some(Ok(floor)) = cells.get(1).map(|c| c.parse()) else {
            continue;
        };
        for name in cells[2].split('`').skip(1).step_by(2) {
            let name = name.trim_start_matches("mod@");
            let again = floors.insert(name.to_owned(), floor);
            assert_eq!(again, None, "{name} stands on two floors");
        }
    }
    floors
}

#[test]
fn every_module_has_one_floor_and_the_documentation_agrees() {
    let floors_of_lib = floors(&read("src/lib.rs"), "//! ");
    let mut modules: Vec<String> = sources(&root().join("src"))
        .iter()
        .map(|s| s.module[0].clone())
        .collect();
    modules.sort();
    modules.dedup();
    assert_eq!(modules, floors_of_lib.keys().cloned().collect::<Vec<_>>());
    assert_eq!(floors(&read("docs/architecture.md"), ""), floors_of_lib);
}

#[test]
fn no_module_uses_its_own_or_a_higher_floor() {
    let floors = floors(&read("src/lib.rs"), "//! ");
    let sources = sources(&root().join("src"));
    let mut climbs = Vec::new();
    for source in &sources {
        let own = &source.module[0];
        for path in &source.uses {
            let Some(used) = file_of(path, &sources).map(|s| &s.module[0]) else {
                continue; // a function or re-export of lib.rs itself
            };
            let floor = |module: &String| match floors.get(module) {
                Some(floor) => *floor,
                None => panic!("{module} stands on no floor: see the table in src/lib.rs"),
            };
            if used != own && floor(used) >= floor(own) {
                climbs.push(format!(
                    "{} uses {}",
                    source.module.join("::"),
                    path.join("::")
                ));
            }
        }
    }
    assert!(
        climbs.is_empty(),
        "imports that do not go down:\n{}",
        climbs.join("\n")
    );
}

/// Neither files nor whole ops (a file or folder below `src/ops`).
#[test]
fn nothing_in_ops_goes_in_a_circle() {
    let mut ops = sources(&root().join("src"));
    ops.retain(|s| s.module[0] == "ops");
    assert!(ops.len() > 10);
    for depth in [usize::MAX, 2] {
        let found = circles(&ops, depth);
        assert!(found.is_empty(), "circles:\n{found:#?}");
    }
}
