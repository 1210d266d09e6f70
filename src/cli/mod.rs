//! The command line: one file per command. A command turns its parsed options into calls of
//! the floors below; it holds no mathematics and no file formats.

use crate::{Error, Result, comm, print};
use clap::{Parser, Subcommand};

pub mod annotate;
pub mod bench;
pub mod embed;
pub mod evaluate;
pub mod export;
pub mod generate;
pub mod hash;
pub mod import;
pub mod inspect;
pub mod keys;
pub mod manual;
pub mod motion;
pub mod places;
pub mod pockets;
pub mod predict;
pub mod prepare;
pub mod regress;
pub mod report;
pub mod scale;
pub mod signature;
pub mod sphere;
pub mod status;
pub mod submit;
pub mod sweep;
pub mod train;
pub mod zernike;

/// Distributed representation learning on 3D molecular data.
#[derive(Parser)]
#[command(name = "holosig", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Pack structures into one compact dataset file
    #[command(subcommand)]
    Prepare(prepare::Command),
    /// Transform point clouds to zernikegrams
    Zernike(zernike::Args),
    /// Transform signals on the sphere to coefficients, or back
    Sphere(sphere::Args),
    /// Compute signatures or log-signatures of paths
    Signature(signature::Args),
    /// Train a model from a job file
    Train(train::Args),
    /// Train many runs of one job: a grid of settings, folds, seeds
    Sweep(sweep::Args),
    /// Write and submit a batch job
    Submit(submit::Args),
    /// Tell how runs stand, from their folders alone
    Status(status::Args),
    /// Embed residue neighborhoods with a trained model
    Embed(embed::Args),
    /// Write values of residues into structures, to colour by: B-factors, or ChimeraX attributes
    #[command(visible_alias = "bfactors")]
    Annotate(annotate::Args),
    /// Tell how residues move: signatures of their paths of invariants
    Motion(motion::Args),
    /// Tell what a latent space knows: reconstruction, classes, clusters, equivariance
    Evaluate(evaluate::Args),
    /// Let a decoder make signals, pictures and densities
    Generate(generate::Args),
    /// Embed the binding pockets of protein-ligand complexes
    Pockets(pockets::Args),
    /// Learn affinities from pockets, beside baselines
    Regress(regress::Args),
    /// Predict the affinities of pockets
    Predict(predict::Args),
    /// Read a published PyTorch model into a checkpoint
    Import(import::Args),
    /// Write a checkpoint as safetensors under the published names
    Export(export::Args),
    /// Make a page and pictures of a run
    Report(report::Args),
    /// Measure speed and memory against this machine's limits
    Bench(bench::Args),
    /// Tell what a step would take on more ranks and other machines
    Scale(scale::Args),
    /// List all keys of job files, or print a JSON schema of them for editors
    Keys(keys::Args),
    /// Describe any holosig file in words
    Inspect(inspect::Args),
    /// Print a hash of a checkpoint's parameters and buffers
    Hash(hash::Args),
    /// Print the script with which a shell completes commands and options
    Completions(manual::CompletionsArgs),
    /// Write manual pages
    Man(manual::ManArgs),
}

impl Cli {
    /// Runs the command to its end.
    ///
    /// # Errors
    /// Whatever the command reports; a standard output that does not take what a command has
    /// printed, where nothing else comes of it.
    pub fn run(self) -> Result<()> {
        if self.command.is_for_one() && comm::launched_as() > 0 {
            return Ok(()); // the first process works
        }
        let prints = self.command.only_prints();
        self.command.run()?;
        match prints {
            true => print::arrived().map_err(|e| Error::io("standard output", e)),
            false => Ok(()),
        }
    }
}

impl Command {
    /// Whether the command needs no MPI, which it does not start.
    fn is_for_one(&self) -> bool {
        match self {
            Command::Status(_) | Command::Inspect(_) | Command::Hash(_) | Command::Submit(_) => {
                true
            }
            Command::Sweep(a) => a.dry_run,
            _ => false,
        }
    }

    /// Whether all that comes of the command is what it prints.
    fn only_prints(&self) -> bool {
        match self {
            Command::Status(_)
            | Command::Keys(_)
            | Command::Inspect(_)
            | Command::Hash(_)
            | Command::Bench(_) => true,
            Command::Completions(_) => true,
            Command::Scale(a) => a.only_prints(),
            Command::Train(a) => a.dry_run,
            Command::Sweep(a) => a.dry_run,
            Command::Submit(a) => a.dry_run,
            _ => false,
        }
    }

    fn run(self) -> Result<()> {
        match self {
            Command::Prepare(c) => prepare::run(c),
            Command::Zernike(a) => zernike::run(a),
            Command::Sphere(a) => sphere::run(a),
            Command::Signature(a) => signature::run(a),
            Command::Train(a) => train::run(a),
            Command::Keys(a) => keys::run(a),
            Command::Sweep(a) => sweep::run(a),
            Command::Submit(a) => submit::run(a),
            Command::Status(a) => status::run(a),
            Command::Embed(a) => embed::run(a),
            Command::Annotate(a) => annotate::run(a),
            Command::Motion(a) => motion::run(a),
            Command::Evaluate(a) => evaluate::run(a),
            Command::Generate(a) => generate::run(a),
            Command::Pockets(a) => pockets::run(a),
            Command::Regress(a) => regress::run(a),
            Command::Predict(a) => predict::run(a),
            Command::Import(a) => import::run(a),
            Command::Export(a) => export::run(a),
            Command::Report(a) => report::run(a),
            Command::Bench(a) => bench::run(a),
            Command::Scale(a) => scale::run(a),
            Command::Inspect(a) => inspect::run(a),
            Command::Hash(a) => hash::run(a),
            Command::Completions(a) => manual::completions(&a),
            Command::Man(a) => manual::man(&a),
        }
    }
}
