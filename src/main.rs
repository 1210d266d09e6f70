use clap::Parser;

fn main() {
    holosig::leave_threads_to_rayon();
    holosig::keep_freed_memory();
    holosig::store::disable_file_locks();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        .format_timestamp_secs()
        .init();
    let code = match holosig::cli::Cli::parse().run() {
        Ok(()) => 0,
        Err(e) => {
            // A failure in a world of several ranks has been told by the rank that saw it.
            if !matches!(e, holosig::Error::Elsewhere { .. }) {
                log::error!("{e}");
            }
            e.exit_code()
        }
    };
    std::process::exit(code);
}
