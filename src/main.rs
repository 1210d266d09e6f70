use clap::Parser;
use holosig::cli::Cli;
use holosig::{Error, comm, print};
use std::io::Write;

fn main() {
    holosig::serve_children();
    holosig::leave_threads_to_rayon();
    holosig::keep_freed_memory();
    holosig::store::disable_file_locks();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        .format(|out, record| {
            let (level, time) = (record.level(), out.timestamp_seconds());
            let style = out.default_level_style(level);
            let words = print::message(&record.args().to_string());
            let target = record.target();
            writeln!(out, "[{time} {style}{level:<5}{style:#} {target}] {words}")
        })
        .init();
    let code = match Cli::try_parse() {
        Ok(cli) => outcome(cli.run()),
        Err(e) => explain(&e),
    };
    std::process::exit(code);
}

/// Tells of a failure and gives its exit code.
fn outcome(result: holosig::Result<()>) -> i32 {
    let Err(e) = result else {
        return 0;
    };
    // A failure in a world of several ranks has been told by the rank that saw it.
    if !matches!(e, Error::Elsewhere { .. }) {
        log::log!(e.level(), "{e}");
    }
    e.exit_code()
}

/// Help, the version, or what is wrong with the command line.
fn explain(e: &clap::Error) -> i32 {
    if comm::launched_as() > 0 {
        return e.exit_code(); // the first process tells
    }
    if e.use_stderr() {
        let text = e.to_string();
        let words: String = text.lines().map(|l| print::message(l) + "\n").collect();
        // Nobody is left to be told of a standard error that takes nothing.
        let _ = std::io::stderr().write_all(words.as_bytes());
        return e.exit_code();
    }
    print::text(&e.to_string());
    outcome(print::arrived().map_err(|e| Error::io("standard output", e)))
}
