//! `holosig completions`, `holosig man`: what the command line knows of itself, for shells and
//! `man`.

use super::Cli;
use crate::store::write_bytes;
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
}

/// Prints the completion script of a shell.
pub fn completions(args: &CompletionsArgs) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "holosig", &mut script);
    print::text(&String::from_utf8(script).map_err(Error::internal)?);
    Ok(())
}

/// Writes the manual pages of all commands.
pub fn man(args: &ManArgs) -> Result<()> {
    std::fs::create_dir_all(&args.folder).map_err(|e| Error::io(&args.folder, e))?;
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    page(&program, "holosig", args)
}

/// The page of a command and those of the commands below it; `name` is `holosig-prepare-grd`.
fn page(command: &clap::Command, name: &str, args: &ManArgs) -> Result<()> {
    let mut text = Vec::new();
    let page = clap_mangen::Man::new(command.clone().display_name(name.to_string()));
    page.title(name)
        .render(&mut text)
        .map_err(Error::internal)?;
    write_bytes(&args.folder.join(format!("{name}.1")), &text)?;
    let below = command.get_subcommands().filter(|c| !c.is_hide_set());
    below
        .into_iter()
        .try_for_each(|c| self::page(c, &format!("{name}-{}", c.get_name()), args))
}
