//! The modules of the crate, and which of them each source file names. A small reader of Rust's
//! words: enough for paths, `use` trees and test modules, no more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A source file and the paths in it, from the root of the crate on.
#[derive(Debug)]
pub struct Source {
    /// `["ops", "cg", "plan"]` for `src/ops/cg/plan.rs`.
    pub module: Vec<String>,
    /// Paths that the file uses: `["so3", "Irreps"]`. Those of `pub use` are not here: a folder's
    /// `mod.rs` shows with them what lies below it.
    pub uses: BTreeSet<Vec<String>>,
    /// Names of the macros that the file gives to the whole crate.
    pub macros: Vec<String>,
}

/// All source files but the programs' own and those of tests.
pub fn sources(src: &Path) -> Vec<Source> {
    let mut files = Vec::new();
    walk(src, &mut files);
    let mut tests = BTreeSet::new();
    let mut found = Vec::new();
    for file in files {
        let module = module_of(file.strip_prefix(src).unwrap());
        if ["lib", "main", "main_cuda"].contains(&module.join("::").as_str()) {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let mut reader = Reader::new(&text, module);
        reader.read();
        tests.extend(reader.tests);
        found.push(Source {
            module: reader.module,
            uses: reader.uses,
            macros: reader.macros,
        });
    }
    found.retain(|s| !tests.contains(&s.module));
    found
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

fn module_of(file: &Path) -> Vec<String> {
    let mut module: Vec<String> = file
        .with_extension("")
        .iter()
        .map(|part| part.to_str().unwrap().to_owned())
        .collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    module
}

/// The file that a path leads to: that of the longest module in it, or of the macro that it names.
pub fn file_of<'a>(path: &[String], sources: &'a [Source]) -> Option<&'a Source> {
    if let [name] = path
        && let Some(source) = sources.iter().find(|s| s.macros.contains(name))
    {
        return Some(source);
    }
    sources
        .iter()
        .filter(|s| path.starts_with(&s.module))
        .max_by_key(|s| s.module.len())
}

/// Groups that reach each other by imports, each as the names of its modules. Modules are told
/// apart by their first `depth` names: all of them for files, two for what stands side by side in
/// one room. A room's own `mod.rs`, which shows what is in it, counts only among files.
pub fn circles(sources: &[Source], depth: usize) -> Vec<Vec<String>> {
    let name = |s: &Source| s.module[..s.module.len().min(depth)].join("::");
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources {
        let to = source.uses.iter().filter_map(|path| file_of(path, sources));
        let to = to.map(name).filter(|to| *to != name(source));
        edges.entry(name(source)).or_default().extend(to);
    }
    let reach = |from: &String| {
        let mut seen = BTreeSet::new();
        let mut open = vec![from.clone()];
        while let Some(at) = open.pop() {
            open.extend(
                edges[&at]
                    .iter()
                    .filter(|to| seen.insert((*to).clone()))
                    .cloned(),
            );
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> =
        edges.keys().map(|m| (m, reach(m))).collect();
    let groups: BTreeSet<Vec<String>> = edges
        .keys()
        .filter(|m| reached[*m].contains(*m))
        .map(|m| {
            let both = |other: &&String| reached[*other].contains(m);
            reached[m].iter().filter(both).cloned().collect()
        })
        .collect();
    groups.into_iter().collect()
}

/// Reads one file, word by word.
struct Reader {
    words: Vec<String>,
    at: usize,
    module: Vec<String>,
    uses: BTreeSet<Vec<String>>,
    macros: Vec<String>,
    /// Modules in files of their own that exist for tests only.
    tests: Vec<Vec<String>>,
}

impl Reader {
    fn new(text: &str, module: Vec<String>) -> Self {
        Self {
            words: words(text),
            at: 0,
            module,
            uses: BTreeSet::new(),
            macros: Vec::new(),
            tests: Vec::new(),
        }
    }

    fn word(&self, ahead: usize) -> &str {
        self.words.get(self.at + ahead).map_or("", String::as_str)
    }

    fn is(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(i, w)| self.word(i) == *w)
    }

    fn read(&mut self) {
        while self.at < self.words.len() {
            if self.is(&["#", "[", "cfg", "(", "test", ")", "]"]) {
                self.at += 7;
                self.skip_test();
            } else if self.is(&["macro_export", "]", "macro_rules", "!"]) {
                self.macros.push(self.word(4).to_owned());
                self.at += 5;
            } else if self.is(&["pub", "use"]) {
                while !["", ";"].contains(&self.word(0)) {
                    self.at += 1;
                }
            } else if ["crate", "super", "self"].contains(&self.word(0)) && self.word(1) == "::" {
                self.path();
            } else {
                self.at += 1;
            }
        }
    }

    /// The item after `#[cfg(test)]`: a module in this file, or in another one.
    fn skip_test(&mut self) {
        while self.word(0) == "#" {
            while self.word(0) != "]" {
                self.at += 1;
            }
            self.at += 1;
        }
        if self.word(0) == "mod" && self.word(2) == ";" {
            let mut module = self.module.clone();
            module.push(self.word(1).to_owned());
            self.tests.push(module);
            return;
        }
        while !["{", ";", ""].contains(&self.word(0)) {
            self.at += 1;
        }
        let mut depth = 0;
        while self.at < self.words.len() {
            match self.word(0) {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    /// A path from here on, with all branches of a `use` tree.
    fn path(&mut self) {
        let mut base = match self.word(0) {
            "crate" => Vec::new(),
            _ => self.module.clone(),
        };
        if self.word(0) == "super" {
            base.pop();
        }
        self.at += 1;
        while self.is(&["::", "super"]) {
            base.pop();
            self.at += 2;
        }
        self.branch(base);
    }

    fn branch(&mut self, mut base: Vec<String>) {
        while self.word(0) == "::" {
            self.at += 1;
            match self.word(0) {
                "{" => {
                    self.at += 1;
                    while !["}", ""].contains(&self.word(0)) {
                        let mut branch = base.clone();
                        if ![",", "self", "*", "as"].contains(&self.word(0)) {
                            branch.push(self.word(0).to_owned());
                        }
                        self.at += 1;
                        self.branch(branch);
                        // `as name` and the comma.
                        while ![",", "}", ""].contains(&self.word(0)) {
                            self.at += 1;
                        }
                        if self.word(0) == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                name if name.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                    base.push(name.to_owned());
                    self.at += 1;
                }
                _ => break,
            }
        }
        self.uses.insert(base);
    }
}

/// Identifiers, `::` and single signs; no comments, no text between quotes.
fn words(text: &str) -> Vec<String> {
    let signs: Vec<char> = text.chars().collect();
    let mut words = Vec::new();
    let mut at = 0;
    let next = |at: usize| signs.get(at).copied().unwrap_or('\0');
    while at < signs.len() {
        let sign = signs[at];
        match sign {
            '/' if next(at + 1) == '/' => {
                while at < signs.len() && signs[at] != '\n' {
                    at += 1;
                }
            }
            'r' if next(at + 1) == '"' || (next(at + 1) == '#' && "#\"".contains(next(at + 2))) => {
                at = after_raw_text(&signs, at);
            }
            '"' => {
                at += 1;
                while at < signs.len() && signs[at] != '"' {
                    at += if signs[at] == '\\' { 2 } else { 1 };
                }
                at += 1;
            }
            // A character; otherwise a lifetime.
            '\'' if next(at + 1) == '\\' || next(at + 2) == '\'' => {
                at += if next(at + 1) == '\\' { 3 } else { 2 };
                while at < signs.len() && signs[at] != '\'' {
                    at += 1;
                }
                at += 1;
            }
            ':' if next(at + 1) == ':' => {
                words.push("::".to_owned());
                at += 2;
            }
            _ if sign.is_alphanumeric() || sign == '_' => {
                let start = at;
                while at < signs.len() && (signs[at].is_alphanumeric() || signs[at] == '_') {
                    at += 1;
                }
                words.push(signs[start..at].iter().collect());
            }
            _ => {
                if !sign.is_whitespace() {
                    words.push(sign.to_string());
                }
                at += 1;
            }
        }
    }
    words
}

/// The place after `r"..."` or `r#"..."#` that begins at `at`.
fn after_raw_text(signs: &[char], at: usize) -> usize {
    let hashes = signs[at + 1..].iter().take_while(|s| **s == '#').count();
    let mut end = at + 2 + hashes;
    let closing = |end: usize| {
        signs[end] == '"'
            && signs[end + 1..]
                .iter()
                .take(hashes)
                .filter(|s| **s == '#')
                .count()
                == hashes
    };
    while end < signs.len() && !closing(end) {
        end += 1;
    }
    end + 1 + hashes
}

#[test]
fn the_reader_finds_paths_and_nothing_else() {
    let text = r##"
        //! crate::comment
        use crate::a::{b::C, d as e, self, g::{h, *}};
        use super::{x, y::Z};
        pub use crate::shown::All;
        fn f<'a>(c: char) -> crate::t::U { let _ = ('"', "crate::text", '\'', r#"crate::raw "# ); super::super::up::v() }
        #[macro_export]
        macro_rules! mine { () => { $crate::m::n() } }
        #[cfg(test)]
        mod tests { use crate::only::Tests; fn g() { {} } }
        #[cfg(test)]
        mod elsewhere;
        type Last = self::own::W;
    "##;
    let module = |path: &str| path.split("::").map(str::to_owned).collect::<Vec<_>>();
    let mut reader = Reader::new(text, module("p::q"));
    reader.read();
    let found: Vec<String> = reader.uses.iter().map(|p| p.join("::")).collect();
    assert_eq!(
        found,
        [
            "a",
            "a::b::C",
            "a::d",
            "a::g",
            "a::g::h",
            "m::n",
            "p::q::own::W",
            "p::x",
            "p::y::Z",
            "t::U",
            "up::v"
        ]
    );
    assert_eq!(reader.macros, ["mine"]);
    assert_eq!(reader.tests, [module("p::q::elsewhere")]);
}
