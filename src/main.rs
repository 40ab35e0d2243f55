//! The entry of the `coffer` binary.

/// Many small allocations on a few threads are most of what a request costs beside its query.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    coffer::cli::main()
}
