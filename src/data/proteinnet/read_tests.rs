use super::*;
use flate2::{Compression, write::GzEncoder};
use std::io::Write;

/// A record of the real layout; atom a of residue i is at (i, 10 a, -1) Å.
fn record(id: &str, sequence: &str, mask: &str) -> String {
    let n = sequence.len();
    let row = |f: &dyn Fn(usize) -> String, n: usize| {
        let words: Vec<String> = (0..n).map(f).collect();
        words.join("\t") + "\n"
    };
    let evolutionary = row(&|i| format!("0.{i}"), n).repeat(21);
    let x = row(&|k| format!("{}.", k / 3 * 100), 3 * n);
    let y = row(&|k| format!("{}.0", k % 3 * 1000), 3 * n);
    let z = row(&|_| "-100.".into(), 3 * n);
    format!(
        "[ID]\n{id}\n[PRIMARY]\n{sequence}\n[EVOLUTIONARY]\n{evolutionary}\
         [TERTIARY]\n{x}{y}{z}[MASK]\n{mask}\n\n"
    )
}

fn read_bytes(bytes: &[u8], fields: Fields) -> Result<Vec<Record>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("training_30");
    std::fs::write(&path, bytes).unwrap();
    let mut records = Vec::new();
    let count = read(&path, fields, |r| {
        records.push(r);
        Ok(())
    })?;
    assert_eq!(count, records.len());
    Ok(records)
}

/// The message, less the folder.
fn complaint(text: &str, fields: Fields) -> String {
    let error = read_bytes(text.as_bytes(), fields).unwrap_err();
    assert_eq!(error.exit_code(), crate::error::EXIT_INPUT);
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message}");
    message.rsplit_once("training_30: ").unwrap().1.to_owned()
}

fn two() -> String {
    record("1A2B_1_A", "AGW", "+-+") + &record("30#3VC5_d3vc5a1", "MK", "++")
}

#[test]
fn reads_coordinates_in_angstrom() {
    let records = read_bytes(two().as_bytes(), Fields::Backbone).unwrap();
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].id, RecordId::new("1A2B_1_A"));
    assert_eq!(records[0].line, 2);
    assert_eq!(records[0].sequence, "AGW");
    let tertiary = records[0].tertiary.as_ref().unwrap();
    assert_eq!(tertiary.mask, [true, false, true]);
    for (i, residue) in tertiary.backbone.iter().enumerate() {
        for (a, atom) in residue.iter().enumerate() {
            assert_eq!(*atom, [i as f32, 10.0 * a as f32, -1.0]);
        }
    }
    assert_eq!(records[1].id.class.as_deref(), Some("30"));
    assert_eq!(records[1].tertiary.as_ref().unwrap().backbone.len(), 2);
}

#[test]
fn plain_gzip_crlf_marks_and_several_gzip_members_are_one() {
    let expected = read_bytes(two().as_bytes(), Fields::Backbone).unwrap();
    let gzip = |text: &str| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let whole = gzip(&two());
    let members = [
        gzip(&record("1A2B_1_A", "AGW", "+-+")),
        gzip(&record("30#3VC5_d3vc5a1", "MK", "++")),
    ];
    let crlf = two().replace('\n', "\r\n");
    // A byte order mark.
    let marked = format!("\u{feff}{}", two());
    let packed = gzip(&marked);
    for bytes in [
        &whole,
        &members.concat(),
        &packed,
        crlf.as_bytes(),
        marked.as_bytes(),
    ] {
        assert_eq!(read_bytes(bytes, Fields::Backbone).unwrap(), expected);
    }
    for length in [3, whole.len() / 2, whole.len() - 1] {
        let error = read_bytes(&whole[..length], Fields::Sequence).unwrap_err();
        assert_eq!(error.exit_code(), crate::error::EXIT_INPUT);
        assert!(error.to_string().contains("gzip"), "{error}");
    }
}

#[test]
fn sections_may_be_missing_or_unknown() {
    let text = "[ID]\nTBM#T0285\n[PRIMARY]\nAGW\n\n\n\
                [ID]\nFM#T0350\n[PRIMARY]\nMK\n[SECONDARY]\nHH\n[RAMA]\n1\t2\n3\n\n";
    let records = read_bytes(text.as_bytes(), Fields::Sequence).unwrap();
    let names: Vec<&str> = records.iter().map(|r| &r.id.name[..]).collect();
    assert_eq!(names, ["T0285", "T0350"]);
    let none = complaint(text, Fields::Backbone);
    assert_eq!(
        none,
        "line 5: record TBM#T0285: there is no [TERTIARY]: no coordinates"
    );
    let unmasked = record("1A2B_1_A", "MK", "++").replace("[MASK]\n++\n", "");
    assert!(complaint(&unmasked, Fields::Backbone).contains("there is no [MASK]"));
    let extended = record("1A2B_1_A", "MK", "++").replace("++\n", "++\n[CHI]\n1\t2\n--\n");
    let records = read_bytes(extended.as_bytes(), Fields::Backbone).unwrap();
    assert_eq!(records[0].tertiary.as_ref().unwrap().mask, [true, true]);
}

/// Wherever the second of two records is cut, it is never taken for a whole one; nothing
/// but the empty line at its end may be missing.
#[test]
fn a_cut_record_is_an_error() {
    let text = two();
    let first = record("1A2B_1_A", "AGW", "+-+").len();
    for fields in [Fields::Sequence, Fields::Backbone] {
        for end in first + 1..text.len() - 2 {
            let message = complaint(&text[..end], fields);
            let named = end < first + "[ID]\n30#3VC5_d3vc5a1\n".len()
                || message.contains("record 30#3VC5_d3vc5a1: ");
            assert!(named && message.starts_with("line "), "{end}: {message}");
        }
        for end in [first, text.len() - 2, text.len() - 1] {
            assert!(read_bytes(&text.as_bytes()[..end], fields).is_ok(), "{end}");
        }
    }
    let joined = text[..first - 6].to_owned() + &text[first..];
    assert!(complaint(&joined, Fields::Sequence).contains("1A2B_1_A: "));
}

#[test]
fn bad_lines_are_named() {
    let both = [Fields::Sequence, Fields::Backbone];
    let cases: [(&str, &str, &str, &[Fields]); 8] = [
        (
            "0.0\t0.1\t0.2\n",
            "0.0\t0.1\n",
            "line 6: record 1A2B_1_A: [EVOLUTIONARY] has 2",
            &both,
        ),
        (
            "0.\t0.\t0.\t100.",
            "0.\t0.\t100.",
            "line 28: record 1A2B_1_A: [TERTIARY] has 8",
            &both,
        ),
        (
            "+-+",
            "+-",
            "line 32: record 1A2B_1_A: [MASK] has 2 values",
            &both,
        ),
        (
            "+-+",
            "+?+",
            "line 32: record 1A2B_1_A: [MASK] holds",
            &both,
        ),
        (
            "AGW",
            "AG1",
            "line 4: record 1A2B_1_A: [PRIMARY] holds",
            &both,
        ),
        (
            "[MASK]",
            "mask",
            "line 31: record 1A2B_1_A: expected a section",
            &both,
        ),
        (
            "-100.\t",
            "nan\t",
            "line 30: record 1A2B_1_A: [TERTIARY]: \"nan\"",
            &both[1..],
        ),
        (
            "1000.0",
            "10oo.0",
            "line 29: record 1A2B_1_A: [TERTIARY]: \"10oo.0\"",
            &both[1..],
        ),
    ];
    for (from, to, expected, fields) in cases {
        let text = record("1A2B_1_A", "AGW", "+-+").replacen(from, to, 1);
        for &fields in fields {
            let message = complaint(&text, fields);
            assert!(message.starts_with(expected), "{message}");
        }
    }
}

#[test]
fn what_is_not_proteinnet_is_refused() {
    for text in ["", "\n\n"] {
        assert!(complaint(text, Fields::Sequence).contains("no ProteinNet record"));
    }
    for text in ["HEADER    HYDROLASE\n", "\0\u{1}\u{2}", "[PRIMARY]\nAGW\n"] {
        assert!(complaint(text, Fields::Sequence).starts_with("line 1: expected [ID]"));
    }
    for text in ["[ID]\n\n", "[ID]\n[PRIMARY]\nA\n", "[ID]\ntwo words\n"] {
        assert!(complaint(text, Fields::Sequence).starts_with("line 2: "));
    }
    assert!(complaint("[ID]\nx\n[MASK]\n+\n", Fields::Sequence).contains("[PRIMARY] first"));
    assert!(complaint("[ID]\nx\n\n", Fields::Sequence).contains("there is no [PRIMARY]"));
}

/// A few kilobytes can be unpacked to a line that fills the memory.
#[test]
fn a_packed_line_without_end_is_refused() {
    let gzip = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let piece = gzip(&vec![b'A'; 1 << 20]);
    let pieces = piece.repeat(LONGEST_LINE / (1 << 20) + 1);
    let bomb = [gzip(b"[ID]\n"), pieces].concat();
    assert!(bomb.len() < 4 << 20, "{}", bomb.len());
    let told = read_bytes(&bomb, Fields::Sequence).unwrap_err().to_string();
    assert!(told.contains("line 2: the line has no end"), "{told}");
}

#[test]
fn stops_where_the_caller_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("training_30");
    std::fs::write(&path, two()).unwrap();
    let mut seen = 0;
    let stopped = read(&path, Fields::Sequence, |_| {
        seen += 1;
        Err(Error::input("enough"))
    });
    assert_eq!(stopped.unwrap_err().to_string(), "enough");
    assert_eq!(seen, 1);
    assert!(matches!(
        read(&folder.path().join("none"), Fields::Sequence, |_| Ok(())),
        Err(Error::Input(_))
    ));
}
