//! `holosig bench`.

use crate::bench::{self, Case, Figure, Group, Limits};
use crate::comm::{DeviceKind, World};
use crate::{Error, Result};

#[derive(clap::Args)]
pub struct Args {
    /// What to measure; absent: everything
    #[arg(value_enum)]
    groups: Vec<Group>,
    /// Only the case of this name; may be repeated
    #[arg(long, value_name = "NAME")]
    case: Vec<String>,
    /// One JSON object per line instead of a table
    #[arg(long)]
    json: bool,
    /// Threads per rank [default: RAYON_NUM_THREADS, or every core]
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// What to measure; the cases of gradients' sums and files are the same everywhere
    #[arg(long, value_name = "WHICH", default_value = "cpu")]
    device: DeviceKind,
    /// Print the cases' names and stop
    #[arg(long)]
    list: bool,
    /// For a process that measures one case for another one: the machine's limits
    #[arg(long, hide = true, requires = "case")]
    limits: Option<String>,
}

pub fn run(args: Args) -> Result<()> {
    let cases = args.chosen()?;
    if args.list {
        cases.iter().for_each(|c| crate::say!("{}", c.name));
        return Ok(());
    }
    if let Some(threads) = args.threads {
        // What rayon and the matrix products go by.
        // SAFETY: no other thread exists yet.
        unsafe { std::env::set_var("RAYON_NUM_THREADS", threads.to_string()) };
    }
    if let Some(limits) = &args.limits {
        let limits: Limits = serde_json::from_str(limits).map_err(Error::input)?;
        let world = World::alone();
        let place = world.place(args.device)?;
        return cases.iter().try_for_each(|case| {
            tell(&bench::measure(&world, &place.device, case, &limits)?, true)
        });
    }
    World::run(|world| {
        let place = world.agree(world.place(args.device))?;
        if !args.json {
            place.announce(world);
        }
        let limits = world.agree(Limits::measure(&place.device))?;
        if world.is_root() && !args.json {
            crate::say!("{}", bench::row(None));
        }
        bench::run(world, &place, &cases, &limits, |figure| {
            tell(figure, args.json)
        })
    })
}

fn tell(figure: &Figure, json: bool) -> Result<()> {
    match json {
        true => crate::say!(
            "{}",
            serde_json::to_string(figure).map_err(Error::internal)?
        ),
        false => crate::say!("{}", bench::row(Some(figure))),
    }
    Ok(())
}

impl Args {
    fn chosen(&self) -> Result<Vec<Case>> {
        let mut cases = bench::all();
        let names: Vec<String> = cases.iter().map(|c| c.name.clone()).collect();
        if let Some(unknown) = self.case.iter().find(|c| !names.contains(c)) {
            return Err(Error::input(format!(
                "--case {unknown}: there is none of this name; --list prints all"
            )));
        }
        cases.retain(|c| {
            (self.groups.is_empty() || self.groups.contains(&c.group))
                && (self.case.is_empty() || self.case.contains(&c.name))
        });
        match cases.is_empty() {
            true => Err(Error::input("none of the named cases is of these groups")),
            false => Ok(cases),
        }
    }
}
