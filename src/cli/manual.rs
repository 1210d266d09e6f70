//! `holosig completions`, `holosig man`: what the command line knows of itself, for shells and
//! `man`.

use super::Cli;
use super::places::Overwrite;
use crate::comm::World;
use crate::store::{Content, Output, write_bytes};
use crate::{Error, Result, print};
use clap::CommandFactory;
use clap_complete::Shell;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct CompletionsArgs {
    /// The shell that is to complete commands and options
    shell: Shell,
}

#[derive(clap::Args)]
pub struct ManArgs {
    /// Folder for the pages, one for each command: holosig.1, holosig-train.1, ...
    folder: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
}

/// The first line of every page, a remark of the format.
const MARK: &str = ".\\\" manual page of holosig";

/// Prints the completion script of a shell.
pub fn completions(args: &CompletionsArgs) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "holosig", &mut script);
    print::text(&String::from_utf8(script).map_err(Error::internal)?);
    Ok(())
}

/// Writes the manual pages of all commands.
pub fn man(args: &ManArgs) -> Result<()> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    page(&program, "holosig", &mut pages)?;
    let place = |name: &String| args.folder.join(format!("{name}.1"));
    let content = Content::marked("a manual page of holosig", MARK);
    let outputs = pages
        .iter()
        .map(|(name, _)| Output::new(place(name), content.clone()));
    let outputs: Vec<Output> = outputs.collect();
    let _claim = args.overwrite.claim(&World::alone(), || Ok(outputs), &[])?;
    let mut pages = pages.iter();
    pages.try_for_each(|(name, text)| write_bytes(&place(name), text))
}

/// Adds the page of a command and those of the commands below it; `name` is `holosig-prepare-grd`.
fn page(command: &clap::Command, name: &str, pages: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let mut text = format!("{MARK}\n").into_bytes();
    let page = clap_mangen::Man::new(command.clone().display_name(name.to_string()));
    page.title(name)
        .render(&mut text)
        .map_err(Error::internal)?;
    pages.push((name.to_string(), text));
    let mut below = command.get_subcommands().filter(|c| !c.is_hide_set());
    below.try_for_each(|c| self::page(c, &format!("{name}-{}", c.get_name()), pages))
}
