//! Signals on the sphere, prepared from images and shapes.

use super::*;

#[test]
fn images_are_the_same_for_any_number_of_ranks() {
    let dir = tempfile::tempdir().unwrap();
    let alone = std::fs::read(bench().join("glyphs.h5")).unwrap();
    for ranks in [1, 3] {
        let out = dir.path().join(format!("{ranks}.h5"));
        run(prepare(bench(), &mut holosig_on(ranks)).arg(&out)).success();
        assert!(std::fs::read(out).unwrap() == alone, "{ranks} ranks");
    }
    let data = Spheres::open(&World::alone(), &bench().join("glyphs.h5")).unwrap();
    let counts = Split::ALL.map(|s| data.split(s).len());
    assert_eq!(counts, [360, 40, 100]);
    // What was not rotated has one rotation; of the test ten share one.
    assert_eq!(data.labels()[..12], glyphs(12, 1).labels);
}

#[test]
fn signals_go_there_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let (signals, back) = (dir.path().join("signals.h5"), dir.path().join("back.h5"));
    let data = bench().join("glyphs.h5");
    run(holosig()
        .args(["sphere", "--inverse"])
        .arg(&data)
        .arg(&signals))
    .success();
    run(holosig()
        .args(["sphere", "--lmax", "4"])
        .arg(&signals)
        .arg(&back))
    .success();
    let open = |path: &Path| Spheres::open(&World::alone(), path).unwrap();
    let (data, back) = (open(&data), open(&back));
    for i in 0..data.len() as u32 {
        let size =
            holosig::data::spheres::size(&data.signal().irreps(), data.coefficients(i)) as f32;
        let pairs = data.coefficients(i).iter().zip(back.coefficients(i));
        pairs.for_each(|(a, b)| assert!((a - b).abs() < 1e-5 * size));
    }
}

/// Images as PNG files of several kinds, in subfolders, with their labels in a table.
#[test]
fn folders_of_png_files_are_the_same_images() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("png");
    let images = glyphs(30, 1);
    let mut table = String::new();
    for i in (0..30).rev() {
        let name = format!("{}/{i:02}.png", i / 10);
        std::fs::create_dir_all(folder.join(format!("{}", i / 10))).unwrap();
        write_png(&folder.join(&name), images.image(i), i % 3);
        table += &format!("{},{name}\n", images.labels[i]);
    }
    let labels = dir.path().join("labels.csv");
    std::fs::write(&labels, format!("label,file\n{table}")).unwrap();
    let out = dir.path().join("png.h5");
    let prepare = || {
        let mut command = holosig();
        command
            .args(["prepare", "images"])
            .arg(&folder)
            .arg("--labels")
            .arg(&labels);
        command
            .args(["--bandwidth", "12", "--lmax", "4", "--force", "--out"])
            .arg(&out);
        run(&mut command)
    };
    prepare().success();
    write_idx(dir.path(), "same", 30, 1);
    let same = dir.path().join("same.h5");
    let mut command = holosig();
    command
        .args(["prepare", "images"])
        .arg(dir.path().join("same-images"));
    command.arg("--labels").arg(dir.path().join("same-labels"));
    run(command
        .args(["--bandwidth", "12", "--lmax", "4", "--out"])
        .arg(&same))
    .success();
    let open = |path: &Path| Spheres::open(&World::alone(), path).unwrap();
    let (png, idx) = (open(&out), open(&same));
    assert_eq!((png.labels(), png.len()), (idx.labels(), 30));
    assert_eq!((png.id(0), png.id(29)), ("0/00.png", "2/29.png"));
    (0..30).for_each(|i| assert_eq!(png.coefficients(i), idx.coefficients(i), "{i}"));

    let whole = std::fs::read(folder.join("1/11.png")).unwrap();
    std::fs::write(folder.join("1/11.png"), &whole[..whole.len() / 2]).unwrap();
    prepare().failure(2, "11.png: not a whole PNG file");
    write_png(&folder.join("1/11.png"), &images.image(11)[..28 * 14], 0);
    prepare().failure(2, "images of 14 x 28 pixels, those before are of 28 x 28");
    std::fs::remove_file(folder.join("1/11.png")).unwrap();
    std::fs::write(
        &labels,
        format!("label,file\n{}", &table[..table.len() - 11]),
    )
    .unwrap();
    prepare().failure(2, "labels.csv: no label for 0/00.png");
    std::fs::write(&labels, "class,file\n1,0/00.png\n").unwrap();
    prepare().failure(2, "label");
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::create_dir(&folder).unwrap();
    prepare().failure(2, "no PNG files in it");
}

/// Pixels 28 wide as grey, as colours or as grey of 16 bits with an alpha channel.
fn write_png(path: &Path, pixels: &[u8], kind: usize) {
    let file = std::fs::File::create(path).unwrap();
    let mut encoder = png::Encoder::new(file, 28, pixels.len() as u32 / 28);
    let (color, depth, repeat): (_, _, fn(u8) -> Vec<u8>) = match kind {
        0 => (png::ColorType::Grayscale, png::BitDepth::Eight, |p| vec![p]),
        1 => (png::ColorType::Rgb, png::BitDepth::Eight, |p| vec![p; 3]),
        _ => (
            png::ColorType::GrayscaleAlpha,
            png::BitDepth::Sixteen,
            |p| vec![p, p, 255, 255],
        ),
    };
    encoder.set_color(color);
    encoder.set_depth(depth);
    let data: Vec<u8> = pixels.iter().flat_map(|&p| repeat(p)).collect();
    encoder
        .write_header()
        .unwrap()
        .write_image_data(&data)
        .unwrap();
}

#[test]
fn shapes_of_any_format_and_flat_ones() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("meshes");
    std::fs::create_dir_all(folder.join("wedge")).unwrap();
    let write = |name: &str, text: &str| -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let points = "0 0 0\n1 0 0\n0 1 0\n0 0 1\n";
    write(
        "wedge/a.off",
        &format!("OFF\n4 4 0\n{points}3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n"),
    );
    let flat = write(
        "wedge/flat.off",
        "OFF\n4 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n3 0 1 2\n3 0 2 3\n",
    );
    let shapes = |ranks: usize, more: &[&str]| {
        let mut command = holosig_on(ranks);
        command
            .args(["prepare", "shapes", "--bandwidth", "8", "--lmax", "4"])
            .arg(&folder);
        run(command
            .arg("--out")
            .arg(dir.path().join(format!("{ranks}.h5")))
            .args(more))
    };
    let told = shapes(0, &[]).success();
    let remark = told
        .stderr
        .lines()
        .filter(|l| l.contains("flat.off: no convex hull"))
        .count();
    assert_eq!(remark, 1, "{told:#?}");
    shapes(2, &[]).success();
    let bytes = |ranks: usize| std::fs::read(dir.path().join(format!("{ranks}.h5"))).unwrap();
    assert!(bytes(0) == bytes(2));
    let data = Spheres::open(&World::alone(), &dir.path().join("0.h5")).unwrap();
    assert_eq!(
        (data.len(), data.dim(), data.labels()[0].as_str()),
        (2, 6 * 25, "wedge")
    );
    std::fs::write(&flat, "OFF\n3 1 0\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n").unwrap();
    shapes(0, &["--force"]).failure(2, "flat.off: no face has an area");
    shapes(2, &["--force"]).failure(2, "flat.off: no face has an area");
    let told = shapes(0, &["--force", "--skip"]);
    let flat = "flat.off: no face has an area";
    told.failure(3, flat).warned(flat);
}

/// Copies are of training meshes only, each turned and moved by itself: the length of a degree's
/// coefficients, which a rotation leaves as it is, differs.
#[test]
fn training_shapes_have_copies() {
    let dir = tempfile::tempdir().unwrap();
    let mesh = "OFF\n4 4 0\n0 0 0\n2 0 0\n0 1 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n";
    let files = ["a.off", "b.off", "c.off"];
    for file in files {
        std::fs::write(dir.path().join(file), mesh).unwrap();
    }
    let table = dir.path().join("shapes.csv");
    let rows = "file,class,split\na.off,x,train\nb.off,x,validation\nc.off,y,train\n";
    std::fs::write(&table, rows).unwrap();
    let shapes = |ranks: usize, copies: &str, name: &str| {
        let mut command = holosig_on(ranks);
        command.args([
            "prepare",
            "shapes",
            "--bandwidth",
            "24",
            "--lmax",
            "4",
            "--table",
        ]);
        let out = dir.path().join(name);
        command.arg(&table).args(["--copies", copies, "--out"]);
        run(command.arg(&out)).success();
        Spheres::open(&World::alone(), &out).unwrap()
    };
    let (none, two) = (shapes(0, "0", "none.h5"), shapes(2, "2", "two.h5"));
    let ids: Vec<&str> = (0..two.len() as u32).map(|i| two.id(i)).collect();
    let copies = [
        "a.off copy 1",
        "c.off copy 1",
        "a.off copy 2",
        "c.off copy 2",
    ];
    assert_eq!(ids, [&files[..], &copies].concat());
    assert_eq!(two.split(Split::Train), [0, 2, 3, 4, 5, 6]);
    let length = |sample: u32| {
        let first = &two.coefficients(sample)[6..6 + 3];
        first.iter().map(|c| f64::from(c * c)).sum::<f64>().sqrt()
    };
    for sample in 0..3 {
        assert_eq!(two.coefficients(sample), none.coefficients(sample));
        assert!((length(sample) - length(0)).abs() < 0.02 * length(0));
    }
    assert!((length(3) - length(0)).abs() > 0.02 * length(0));
    assert!((length(3) - length(5)).abs() > 0.02 * length(0));
}

#[test]
fn mistakes_are_named_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.h5");
    let images = |images: &Path, labels: &Path, words: &str| {
        for mut command in [holosig(), holosig_on(2)] {
            command
                .args(["prepare", "images"])
                .arg(images)
                .arg("--labels")
                .arg(labels);
            run(command.arg("--out").arg(&out)).failure(2, words);
            assert!(!out.exists());
        }
    };
    let (good, labels) = (bench().join("train-images"), bench().join("train-labels"));
    images(&labels, &labels, "begins with 0x00000801");
    images(
        &good,
        &bench().join("test-labels"),
        "100 labels for 400 images",
    );
    images(&dir.path().join("none"), &labels, "none");
    let mut blank = std::fs::read(&good).unwrap();
    blank[16 + 5 * 784..16 + 6 * 784].fill(0);
    let path = dir.path().join("blank");
    std::fs::write(&path, blank).unwrap();
    images(&path, &labels, "image 5: a blank image");
    // Images of another size, beside those to train on or to test on.
    let mut wide = std::fs::read(&good).unwrap();
    wide[8..16].copy_from_slice(&[0, 0, 0, 14, 0, 0, 0, 56]);
    let path = dir.path().join("wide");
    std::fs::write(&path, wide).unwrap();
    for more in [None, Some("--test")] {
        let mut command = holosig();
        command.args(["prepare", "images"]).arg(&good).args(more);
        command.arg(&path).arg("--out").arg(&out);
        let words = "wide: images of 14 x 56 pixels, those before are of 28 x 28";
        run(&mut command).failure(2, words);
    }
    run(holosig()
        .arg("evaluate")
        .arg(bench().join("glyphs.h5"))
        .arg("--dataset")
        .arg(bench().join("glyphs.h5"))
        .arg("--out")
        .arg(dir.path().join("e")))
    .failure(2, "where a checkpoint of holosig is needed");
    // A model of molecules is no model of signals, and the other way round.
    let mut embed = holosig();
    embed
        .arg("embed")
        .arg(bench().join("run"))
        .arg("--dataset")
        .arg(bench().join("glyphs.h5"));
    run(embed.arg("--out").arg(&out)).failure(2, "not an H-(V)AE model");
}
