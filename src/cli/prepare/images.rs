//! `holosig prepare images`.

use super::progress::Progress;
use crate::cli::places::Overwrite;
use crate::comm::World;
use crate::data::Split;
use crate::data::spheres::images::{Images, Projection, glyphs, permutation};
use crate::data::spheres::make::{ImageMaker, ImagePart};
use crate::store::{Kind, Output};
use crate::{Error, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Which images are turned by random rotations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Rotate {
    /// None.
    None,
    /// Those of the test: NR/R of the paper.
    Test,
    /// All: R/R of the paper.
    All,
}

#[derive(clap::Args, Serialize)]
pub struct Args {
    /// idx files (as MNIST comes, .gz or not) or folders of PNG files, for training and validation
    #[arg(required_unless_present = "quickstart", value_name = "FILE|FOLDER")]
    images: Vec<PathBuf>,
    /// Draw glyphs, to try the program with, instead of reading files
    #[arg(long, conflicts_with_all = ["images", "test", "labels"])]
    quickstart: bool,
    /// Their labels: idx files, or a table with the columns file and label
    #[arg(long, num_args = 1.., value_name = "FILE")]
    labels: Vec<PathBuf>,
    /// Images for the test
    #[arg(long, num_args = 1.., value_name = "FILE|FOLDER")]
    test: Vec<PathBuf>,
    /// Labels of the images for the test
    #[arg(long, num_args = 1.., value_name = "FILE", requires = "test")]
    test_labels: Vec<PathBuf>,
    /// Dataset file to write
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    out: PathBuf,
    /// Which images are turned by random rotations
    #[arg(long, value_enum, default_value = "test")]
    rotate: Rotate,
    /// Images that share a random rotation, one after another
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    together: u32,
    /// How images are brought onto the sphere
    #[arg(long, value_enum, default_value_t)]
    projection: Projection,
    /// Part of the images that is for validation, chosen by the published permutation
    #[arg(long, default_value_t = 0.1, value_name = "PART", value_parser = part)]
    validation: f64,
    /// Half the number of rings of the grid
    #[arg(long, default_value_t = 30)]
    bandwidth: usize,
    /// The largest degree of the coefficients
    #[arg(long, default_value_t = 10)]
    lmax: usize,
    /// Chooses random rotations
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    #[serde(skip)]
    overwrite: Overwrite,
}

fn part(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(part) if (0.0..1.0).contains(&part) => Ok(part),
        _ => Err("a number from 0 to less than 1 is needed".into()),
    }
}

/// The file to blame.
fn first(files: &[PathBuf]) -> &Path {
    files.first().map_or(Path::new("glyphs"), PathBuf::as_path)
}

/// Images that one rank projects at a time; rotations are shared within it or not at all, whatever
/// the number of ranks.
const BLOCK: usize = 500;
/// Glyphs to train and validate on, and for the test.
const DRAWN: [usize; 2] = [2000, 400];
/// Seed of the published permutation that chooses the validation images.
const PUBLISHED: u64 = 1_234_567_890;

pub fn run(args: Args) -> Result<()> {
    World::run(|world| {
        let files = args
            .images
            .iter()
            .chain(&args.labels)
            .chain(&args.test)
            .chain(&args.test_labels);
        let inputs: Vec<&Path> = files.map(PathBuf::as_path).collect();
        let outputs = || Ok(vec![Output::new(&args.out, Kind::Spheres)]);
        let _claim = args.overwrite.claim(world, outputs, &inputs)?;
        let maker = world.agree(args.maker())?;
        let (train, test) = world.agree(args.read())?;
        let parts = world.agree(args.parts(&train, &test))?;
        let mut samples = Vec::new();
        for part in &parts {
            let progress = Progress::new(world.is_root(), part.images.len(), "images");
            world.ordered(
                part.images.len(),
                BLOCK,
                |range| maker.samples(part, range),
                |range, more| {
                    samples.extend(more);
                    progress.at(range.end);
                    Ok(())
                },
            )?;
        }
        world.on_root(|| {
            let settings = toml::to_string(&args).map_err(Error::internal)?;
            super::spheres::finish(maker.signal(), samples, settings, &args.out)
        })?;
        Ok(())
    })
}

impl Args {
    fn maker(&self) -> Result<ImageMaker> {
        let together = self.together as usize;
        ImageMaker::new(
            self.lmax,
            self.bandwidth,
            self.projection,
            together,
            self.seed,
        )
    }

    /// The images to train and to validate on, and those of the test.
    fn read(&self) -> Result<(Images, Images)> {
        if self.quickstart {
            return Ok((glyphs(DRAWN[0], self.seed), glyphs(DRAWN[1], !self.seed)));
        }
        let train = Images::read(&self.images, &self.labels)?;
        let Some(first) = self.test.first() else {
            return Ok((train, Images::default()));
        };
        let test = Images::read(&self.test, &self.test_labels)?;
        test.check_size(&train, first)?;
        Ok((train, test))
    }

    /// Training and validation images, and those of the test.
    fn parts<'a>(&'a self, train: &'a Images, test: &'a Images) -> Result<Vec<ImagePart<'a>>> {
        let n = train.len();
        let order = u32::try_from(n).map(|n| permutation(PUBLISHED, n));
        let order = order.map_err(|_| Error::input("more than 4,294,967,295 images"))?;
        let kept = n - (n as f64 * self.validation).round() as usize;
        let mut splits = vec![Split::Train; n];
        order[kept..]
            .iter()
            .for_each(|&i| splits[i as usize] = Split::Validation);
        let mut parts = vec![ImagePart {
            images: train,
            path: first(&self.images),
            splits,
            rotated: self.rotate == Rotate::All,
            number: 0,
        }];
        if !test.is_empty() {
            parts.push(ImagePart {
                images: test,
                path: first(&self.test),
                splits: vec![Split::Test; test.len()],
                rotated: self.rotate != Rotate::None,
                number: 1,
            });
        }
        Ok(parts)
    }
}
