//! The entry of the `coffer` binary.

fn main() -> std::process::ExitCode {
    coffer::cli::main()
}
