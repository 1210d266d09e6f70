//! What the program says: on standard output by [`say!`](crate::say) and [`text`], in the log by
//! [`message`].
//!
//! Names and ids come from files of others and may hold anything: characters that would steer a
//! terminal are shown as escapes. A reader of standard output that goes away (`| head`) or a full
//! disk behind it never ends the work.

use std::fmt::{Display, Write as _};
use std::io::{ErrorKind, Write};
use std::sync::Mutex;

/// Longest message of the log, in characters.
const LONGEST: usize = 2000;

/// Characters of a longer message that are kept from its end, where the remedy stands.
const KEPT_END: usize = 400;

/// Prints one line to standard output, as `println!` would. Line breaks within it are shown as
/// escapes.
#[macro_export]
macro_rules! say {
    ($($words:tt)*) => {
        $crate::print::line(&format!($($words)*))
    };
}

/// What became of standard output.
static FAILED: Mutex<Option<std::io::Error>> = Mutex::new(None);

/// Prints one line; see [`say!`](crate::say).
pub fn line(words: &str) {
    write(&format!("{}\n", clean(words, &[])));
}

/// Prints text of several lines (a table, a job) as it is, but for control characters.
pub fn text(text: &str) {
    write(&clean(text, &['\n', '\t']));
}

fn write(text: &str) {
    let mut failed = FAILED.lock().unwrap_or_else(|e| e.into_inner());
    if failed.is_some() {
        return; // nobody reads on
    }
    let mut out = std::io::stdout().lock();
    *failed = out
        .write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .err();
}

/// Tells whether everything that was printed has arrived; a reader that had enough is no fault.
///
/// # Errors
/// What kept standard output from taking the text.
pub fn arrived() -> std::io::Result<()> {
    let failed = FAILED.lock().unwrap_or_else(|e| e.into_inner());
    match &*failed {
        Some(e) if e.kind() != ErrorKind::BrokenPipe => Err(std::io::Error::new(
            e.kind(),
            format!("{e}; what should have been printed is lost"),
        )),
        _ => Ok(()),
    }
}

/// A message of the log: one line of bounded length.
pub fn message(words: &str) -> String {
    let clean = clean(words.trim_end(), &[]);
    let count = clean.chars().count();
    if count <= LONGEST {
        return clean;
    }
    let start: String = clean.chars().take(LONGEST - KEPT_END).collect();
    let end: String = clean.chars().skip(count - KEPT_END).collect();
    let left_out = count - LONGEST;
    format!("{start} ... ({left_out} characters left out) ... {end}")
}

/// The text with control characters, those that change the direction of writing among them, as
/// escapes; `but` lists those that stay.
pub fn clean(text: &str, but: &[char]) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match steers(c) && !but.contains(&c) {
            true => write!(out, "{}", c.escape_default()).unwrap_or_default(),
            false => out.push(c),
        }
    }
    out
}

/// A number with what it counts: `1 model`, `2 models`, `0 trajectories`.
pub fn count(n: impl Display, what: &str) -> String {
    let n = n.to_string();
    match what.strip_suffix('y') {
        _ if n == "1" => format!("1 {what}"),
        Some(stem) => format!("{n} {stem}ies"),
        None if what.ends_with(['s', 'x']) => format!("{n} {what}es"),
        None => format!("{n} {what}s"),
    }
}

/// Whether a character may steer a terminal, a page or a script, where a name should only be shown.
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{feff}'
        )
        || ('\u{202a}'..='\u{202e}').contains(&c)
        || ('\u{2066}'..='\u{2069}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_not_obeyed() {
        let name = "a\x1b[31mb\nc\td\u{9b}\u{202e}e";
        assert_eq!(clean(name, &[]), "a\\u{1b}[31mb\\nc\\td\\u{9b}\\u{202e}e");
        assert_eq!(clean("a\nb\r", &['\n', '\t']), "a\nb\\r");
        assert_eq!(clean("Å “α” 4\u{a0}µm", &[]), "Å “α” 4\u{a0}µm");
        assert_eq!(message("one\ntwo\n"), "one\\ntwo");
    }

    #[test]
    fn one_thing_is_no_plural() {
        assert_eq!(count(1usize, "model"), "1 model");
        assert_eq!(count(0, "run"), "0 runs");
        assert_eq!(count(2, "trajectory"), "2 trajectories");
        assert_eq!(count(7, "complex"), "7 complexes");
        assert_eq!(count(2, "class"), "2 classes");
    }

    #[test]
    fn long_messages_keep_their_ends() {
        let long = format!("file.pdb: {}: do this", "x".repeat(1 << 20));
        let short = message(&long);
        assert!(short.starts_with("file.pdb: xxx") && short.ends_with("xxx: do this"));
        assert!(short.chars().count() < LONGEST + 50, "{}", short.len());
        assert!(short.contains("characters left out"));
        let fits = "y".repeat(LONGEST);
        assert_eq!(message(&fits), fits);
    }
}
