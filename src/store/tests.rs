use super::*;
use tempfile::tempdir;

fn sample(path: &Path) -> Result<Digest> {
    write(path, Kind::Dataset, |root| {
        root.set_attr("cutoff", 10.0f64)?;
        root.set_attr_text("units", "Å")?;
        root.set_attr_list("channels", &[6u8, 7, 8])?;
        let g = root.create_group("atoms")?;
        let xyz: Vec<f32> = (0..300).map(|i| i as f32).collect();
        g.write("coordinates", &[100, 3], &xyz, Storage::Compressed)?;
        g.write("offsets", &[3], &[0i64, 40, 100], Storage::Plain)?;
        g.write("none", &[0, 3], &[0f32; 0], Storage::Compressed)?;
        root.write_strings("chains", &["A", "B", "ä"])?;
        root.write_strings("files", &["a/very/long/name/of/a/file.pdb", "x"])?;
        root.write_text("job", &"x = 1\n".repeat(20_000))
    })
}

fn message<T>(r: Result<T>) -> String {
    match r {
        Ok(_) => panic!("an error was expected"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn reads_back_what_was_written() -> Result<()> {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.h5");
    let digest = sample(&path)?;
    let f = open(&path, Kind::Dataset)?;
    assert_eq!(f.header().unwrap().digest, digest);
    assert_eq!(f.attr::<f64>("cutoff")?, 10.0);
    assert_eq!(f.attr_text("units")?, "Å");
    assert_eq!(f.attr_list::<u8>("channels")?, [6, 7, 8]);
    let g = f.group("atoms")?;
    let (xyz, shape) = g.read_shaped::<f32>("coordinates", &[None, Some(3)])?;
    assert_eq!((shape, xyz[299]), (vec![100, 3], 299.0));
    assert_eq!(g.read_rows::<f32>("coordinates", 1..2)?, [3.0, 4.0, 5.0]);
    assert_eq!(g.read::<u64>("offsets")?, [0, 40, 100]);
    assert!(
        g.read_shaped::<f32>("none", &[Some(0), Some(3)])?
            .0
            .is_empty()
    );
    assert_eq!(f.read_strings("chains")?, ["A", "B", "ä"]);
    assert_eq!(
        f.read_strings("files")?[0],
        "a/very/long/name/of/a/file.pdb"
    );
    assert_eq!(f.read_text("job")?.len(), 120_000);
    Ok(())
}

#[test]
fn rows_are_written_where_they_belong() -> Result<()> {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.h5");
    write(&path, Kind::Embeddings, |root| {
        root.create::<f32>("z", &[5, 2], Storage::Compressed)?;
        root.write_rows("z", 3, &[1f32, 2.0, 3.0, 4.0])?;
        root.write_rows("z", 1, &[9f32, 8.0])?;
        assert!(root.write_rows("z", 4, &[0f32; 4]).is_err());
        Ok(())
    })?;
    let z = open(&path, Kind::Embeddings)?.read_shaped::<f32>("z", &[None, None])?;
    assert_eq!(z.0, [0.0, 0.0, 9.0, 8.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0]);
    Ok(())
}

#[test]
fn equal_content_gives_equal_bytes() -> Result<()> {
    let dir = tempdir().unwrap();
    let (a, b) = (dir.path().join("a.h5"), dir.path().join("b.h5"));
    sample(&a)?;
    // HDF5 time stamps count seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    sample(&b)?;
    assert!(std::fs::read(a).unwrap() == std::fs::read(b).unwrap());
    Ok(())
}

#[test]
fn every_flipped_byte_and_every_cut_is_found() -> Result<()> {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.h5");
    write(&path, Kind::Checkpoint, |root| {
        root.write("x", &[4], &[1f32, 2.0, 3.0, 4.0], Storage::Plain)
    })?;
    let good = std::fs::read(&path).unwrap();
    for i in 0..good.len() {
        let mut bad = good.clone();
        bad[i] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        assert!(open(&path, Kind::Checkpoint).is_err(), "byte {i}");
    }
    for n in [0, 5, 100, 511, 512, 600, good.len() - 1] {
        std::fs::write(&path, &good[..n]).unwrap();
        let told = message(open(&path, Kind::Checkpoint));
        assert!(told.contains("truncated") || n <= 5, "{n}: {told}");
    }
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 4;
    std::fs::write(&path, &bad).unwrap();
    let told = message(open(&path, Kind::Checkpoint));
    assert!(told.contains("a.h5: damaged: its content"), "{told}");
    std::fs::write(&path, &good).unwrap();
    open(&path, Kind::Checkpoint).map(drop)
}

#[test]
fn wrong_files_are_told_apart() -> Result<()> {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.h5");
    let told = |p: &Path| message(open(p, Kind::Checkpoint));
    assert!(told(&path).ends_with("no such file"));
    assert!(told(dir.path()).contains("a folder"));
    std::fs::write(&path, "hello").unwrap();
    assert!(told(&path).ends_with("not an HDF5 file"));
    assert!(message(open_plain(&path)).contains("not an HDF5 file"));
    hdf5::File::create(&path).unwrap();
    assert!(told(&path).contains("not one that holosig wrote"));
    open_plain(&path)?;
    sample(&path)?;
    assert!(told(&path).contains("a dataset of holosig, where a checkpoint of holosig is needed"));
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(9).position(|w| w == b"version=2").unwrap() + 8;
    bytes[at] = b'9';
    std::fs::write(&path, bytes).unwrap();
    assert!(message(open(&path, Kind::Dataset)).contains("newer holosig (dataset version 9"));
    Ok(())
}

/// A program started while a file is open holds what the file's opener holds, locks included.
#[test]
fn files_can_be_written_again_while_a_program_runs_on() -> Result<()> {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.h5");
    let file = hdf5::File::create(&path).unwrap();
    let mut program = std::process::Command::new("sleep")
        .arg("60")
        .spawn()
        .unwrap();
    file.close().unwrap();
    let again = hdf5::File::create(&path).map(drop);
    let read = open_plain(&path).map(drop);
    program.kill().and_then(|_| program.wait()).unwrap();
    again.unwrap();
    read
}

#[test]
fn wrong_content_is_named() -> Result<()> {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.h5");
    sample(&path)?;
    let f = open(&path, Kind::Dataset)?;
    let g = f.group("atoms")?;
    let told = message(g.read::<f32>("velocities"));
    assert!(
        told.ends_with("a.h5: no dataset /atoms/velocities"),
        "{told}"
    );
    let told = message(g.read::<f32>("coordinates"));
    assert!(
        told.contains("shape [100, 3], where [any] is needed"),
        "{told}"
    );
    let told = message(g.read::<f32>("offsets"));
    assert!(told.contains("holds int64, where floats"), "{told}");
    let told = message(g.read::<u8>("offsets").and(f.read::<u8>("chains")));
    assert!(told.contains("holds strings, where integers"), "{told}");
    assert!(message(f.group("nothing")).contains("no group /nothing"));
    assert!(message(f.attr::<f64>("nothing")).contains("no attribute nothing on /"));
    assert!(message(f.attr::<u64>("cutoff")).contains("holds float64, where integers"));
    Ok(())
}

#[test]
fn integers_that_do_not_fit_are_refused() -> Result<()> {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.h5");
    write(&path, Kind::Dataset, |root| {
        root.write("n", &[2], &[5i64, -1], Storage::Plain)
    })?;
    let told = message(open(&path, Kind::Dataset)?.read::<u64>("n"));
    assert!(told.contains("element 1 is -1, out of range"), "{told}");
    Ok(())
}

#[test]
fn a_failed_write_leaves_the_old_file_and_nothing_else() -> Result<()> {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.h5");
    sample(&path)?;
    let before = std::fs::read(&path).unwrap();
    let failed = write(&path, Kind::Dataset, |root| {
        root.set_attr("cutoff", 1.0f64)?;
        Err(Error::input("no such thing"))
    });
    assert_eq!(message(failed), "no such thing");
    assert!(std::fs::read(&path).unwrap() == before);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    let nowhere = dir.path().join("missing").join("a.h5");
    assert!(message(sample(&nowhere)).contains("missing/a.h5: No such file"));
    Ok(())
}

/// Large data go past HDF5: they must be where HDF5 looks for them, small data around them too.
#[test]
fn large_data_lie_where_hdf5_looks() -> Result<()> {
    let dir = tempdir().unwrap();
    let values: Vec<f32> = (0..300_000).map(|i| i as f32 * 0.5).collect();
    let fill = |root: &Node| {
        root.write("before", &[2], &[1u8, 2], Storage::Plain)?;
        root.write("large", &[1000, 300], &values, Storage::Plain)?;
        let group = root.create_group("more")?;
        group.create::<f32>("rows", &[1000, 300], Storage::Plain)?;
        group.write_rows("rows", 0, &values[..30_000])?; // small
        group.write_rows("rows", 100, &values[30_000..270_000])?;
        root.write("after", &[1], &[-7i64], Storage::Plain)
    };
    let (one, two) = (dir.path().join("1.h5"), dir.path().join("2.h5"));
    write(&one, Kind::Dataset, fill)?;
    write(&two, Kind::Dataset, fill)?;
    let f = open(&one, Kind::Dataset)?;
    assert_eq!(f.read::<u8>("before")?, [1, 2]);
    let (large, shape) = f.read_shaped::<f32>("large", &[None, Some(300)])?;
    assert!(large == values && shape == [1000, 300]);
    assert!(f.read_rows::<f32>("large", 999..1000)? == values[299_700..]);
    let rows = f.group("more")?.read_rows::<f32>("rows", 0..1000)?;
    assert!(rows[..270_000] == values[..270_000]);
    assert!(rows[270_000..].iter().all(|&v| v == 0.0), "never written");
    assert_eq!(f.read::<i64>("after")?, [-7]);
    assert!(std::fs::read(&one).unwrap() == std::fs::read(&two).unwrap());
    Ok(())
}
