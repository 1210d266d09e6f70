//! The page about a run.

mod common;

use common::{flip_byte, holosig, run};
use holosig::store::{self, Kind, Storage};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of a run of four steps, resumed after the second.
fn run_folder(dir: &Path) -> PathBuf {
    let folder = dir.join("first");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("job.toml"), "[train]\nsteps = 4 # <tag>\n").unwrap();
    let metrics = [
        r#"{"event":"start","step":0,"ranks":4}"#,
        r#"{"event":"train","step":1,"objective":8.0,"samples_per_second":100.0}"#,
        r#"{"event":"train","step":2,"objective":4.0,"samples_per_second":120.0}"#,
        r#"{"event":"validation","step":2,"objective":5.0,"cosine":0.8}"#,
        r#"{"event":"resume","step":2,"ranks":2}"#,
        r#"{"event":"train","step":3,"objective":3.0,"samples_per_second":60.0}"#,
        r#"{"event":"train","step":4,"objective":2.5,"samples_per_second":70.0}"#,
        r#"{"event":"validation","step":4,"objective":3.0,"cosine":0.625}"#,
    ];
    std::fs::write(folder.join("metrics.jsonl"), metrics.join("\n") + "\n").unwrap();
    folder
}

/// An embedding file of 30 residues whose cosine losses have mean `loss`.
fn embeddings(path: &Path, loss: f32) {
    let invariants: Vec<f32> = (0..90).map(|i| ((i * 37) % 90) as f32).collect();
    let losses: Vec<f32> = (0..30).map(|i| loss + (i as f32 - 14.5) / 1000.0).collect();
    let names: Vec<&str> = ["ALA", "GLY", "TRP"].into_iter().cycle().take(30).collect();
    store::write(path, Kind::Embeddings, |root| {
        root.write("invariants", &[30, 3], &invariants, Storage::Plain)?;
        root.write("cosine_loss", &[30], &losses, Storage::Plain)?;
        root.create_group("residues")?.write_strings("name", &names)
    })
    .unwrap();
}

#[test]
fn the_page_says_what_the_run_was_and_needs_no_other_file() {
    let dir = tempfile::tempdir().unwrap();
    let folder = run_folder(dir.path());
    let (trained, untrained) = (dir.path().join("t.h5"), dir.path().join("u.h5"));
    embeddings(&trained, 0.25);
    embeddings(&untrained, 1.0);
    let told = run(holosig()
        .arg("report")
        .arg(&folder)
        .arg("--embeddings")
        .arg(&trained)
        .arg("--untrained")
        .arg(&untrained))
    .success();
    assert!(
        told.stdout
            .contains("cosine loss: 0.2500 trained, 1.0000 untrained"),
        "{told:?}"
    );
    let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
    for text in [
        "<h1>first</h1>",
        "4 steps, resumed once",
        "<b>0.250</b>",
        "<b>1.000</b>",
        "<b>0.625</b>",
        "<td>TRP</td><td>10</td>",
        "aromatic",
        // Ranks and median rate before and after the resumption.
        "<td>0</td><td>4</td><td>120</td>",
        "<td>2</td><td>2</td><td>70</td>",
        "steps = 4 # &lt;tag&gt;",
    ] {
        assert!(page.contains(text), "the page does not say {text:?}");
    }
    assert_eq!(page.matches("<svg").count(), 4);
    for outside in ["src=", "href=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn a_run_without_embeddings_has_a_page_too() {
    let dir = tempfile::tempdir().unwrap();
    let folder = run_folder(dir.path());
    let out = dir.path().join("page.html");
    run(holosig().arg("report").arg(&folder).arg("--out").arg(&out)).success();
    let page = std::fs::read_to_string(out).unwrap();
    assert!(page.contains("<h2>Training</h2>") && !page.contains("<h2>Latent space</h2>"));
}

#[test]
fn runs_on_one_page_are_compared() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let folders = dirs.each_ref().map(|dir| run_folder(dir.path()));
    let job = |seed: u32| format!("[train]\nsteps = 4\nseed = {seed}\n");
    let report = |seed: u32| {
        std::fs::write(folders[0].join("job.toml"), job(1)).unwrap();
        std::fs::write(folders[1].join("job.toml"), job(seed)).unwrap();
        run(holosig().arg("report").args(&folders).arg("--force")).success();
        std::fs::read_to_string(folders[0].join("report.html")).unwrap()
    };
    let page = report(2);
    assert!(page.contains("<td>train.seed</td><td>1</td><td>2</td>"));
    assert!(!page.contains("<td>train.steps</td>"), "it does not differ");
    assert!(page.contains("<details><summary>3 lines</summary><pre>[train]"));
    // Objective and cosine loss of each, and one chart of both.
    assert_eq!(page.matches("<svg").count(), 5);
    let page = report(1);
    assert!(page.contains("All settings are the same.") && !page.contains("<td>train.seed"));
}

#[test]
fn bad_input_is_named_and_leaves_no_page() {
    let dir = tempfile::tempdir().unwrap();
    let folder = run_folder(dir.path());
    let file = dir.path().join("e.h5");
    embeddings(&file, 0.5);
    flip_byte(&file, 1500);
    run(holosig()
        .arg("report")
        .arg(&folder)
        .arg("--embeddings")
        .arg(&file))
    .failure(2, "e.h5: damaged");
    run(holosig().arg("report").arg(dir.path())).failure(2, "not the folder of a run");
    assert!(!folder.join("report.html").exists());
    let nowhere = Path::new("/proc/missing/page.html");
    run(holosig()
        .arg("report")
        .arg(&folder)
        .arg("--out")
        .arg(nowhere))
    .failure(2, "missing/page.html: cannot be written");
}

/// The page itself brings the rules of paper and of narrow screens.
#[test]
fn a_page_can_be_printed_and_read_on_a_phone() {
    let dir = tempfile::tempdir().unwrap();
    let folder = run_folder(dir.path());
    run(holosig().arg("report").arg(&folder)).success();
    let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
    for text in [
        "@media print",
        "body { background: #fff;",
        ".wide, pre { overflow: visible; }",
        "@media (max-width: 600px)",
        "width=device-width",
    ] {
        assert!(page.contains(text), "{text}");
    }
    let Some(browser) = browser() else { return };
    // The page in a window of 400 pixels, and what it takes in it.
    let frame = folder.join("frame.html");
    let text = "<iframe src=\"report.html\" width=\"400\" height=\"800\" style=\"border: 0\"></iframe>\n\
        <script>onload = () => { document.title =\n\
        frames[0].innerWidth + \" and \" + frames[0].document.documentElement.scrollWidth }</script>\n";
    std::fs::write(&frame, text).unwrap();
    let mut command = headless(browser, &frame);
    command.arg("--allow-file-access-from-files");
    let told = run(command
        .arg("--dump-dom")
        .arg(format!("file://{}", frame.display())));
    let told = told.success().stdout;
    assert!(told.contains("<title>400 and 400</title>"), "{told}");
}

/// A browser on PATH; where there is none, no test in CI may say that all is well.
fn browser() -> Option<&'static str> {
    let known = ["chromium", "google-chrome", "chromium-browser"];
    let works = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    let found = known.into_iter().find(works);
    assert!(
        found.is_some() || std::env::var_os("CI").is_none(),
        "no browser on PATH: scripts/setup.sh --with-browser"
    );
    if found.is_none() {
        println!("NOT TESTED: no browser on PATH; scripts/setup.sh --with-browser installs one");
    }
    found
}

/// A browser without a window, with a profile of its own beside `page`.
fn headless(browser: &str, page: &Path) -> Command {
    let mut command = Command::new(browser);
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
        ])
        .arg(format!(
            "--user-data-dir={}",
            page.with_extension("profile").display()
        ));
    command
}

/// Pixels of a screenshot of `page` that have one of the colours of series in charts, but for the
/// first, which the page itself uses.
fn colored_pixels(browser: &str, page: &Path) -> usize {
    let shot = page.with_extension("png");
    run(headless(browser, page)
        .arg("--window-size=1200,3600")
        .arg(format!("--screenshot={}", shot.display()))
        .arg(format!("file://{}", page.display())))
    .success();
    let file = std::io::BufReader::new(std::fs::File::open(&shot).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert!(info.width == 1200 && info.height == 3600, "{info:?}");
    let size = info.color_type.samples();
    let colors = holosig::draw::PALETTE.map(|c| [c.0, c.1, c.2]);
    let colors = &colors[1..];
    let is_colored = |p: &[u8]| colors.iter().any(|c| p[..3] == *c);
    pixels[..info.buffer_size()]
        .chunks_exact(size)
        .filter(|p| is_colored(p))
        .count()
}

/// The figures are what a browser draws, not only text in the file.
#[test]
fn a_browser_shows_the_figures() {
    let Some(browser) = browser() else { return };
    let dir = tempfile::tempdir().unwrap();
    let folder = run_folder(dir.path());
    let trained = dir.path().join("t.h5");
    embeddings(&trained, 0.25);
    let page = dir.path().join("page.html");
    let mut report = holosig();
    report
        .arg("report")
        .arg(&folder)
        .arg("--embeddings")
        .arg(&trained);
    run(report.arg("--out").arg(&page)).success();
    let with = colored_pixels(browser, &page);

    // The same page without its pictures.
    let text = std::fs::read_to_string(&page).unwrap();
    let parts = text
        .split("<svg")
        .map(|p| p.rsplit("</svg>").next().unwrap());
    let bare = dir.path().join("bare.html");
    std::fs::write(&bare, parts.collect::<String>()).unwrap();
    let without = colored_pixels(browser, &bare);
    assert!(
        with > 300 && with > 10 * without,
        "{with} and {without} pixels"
    );
}
