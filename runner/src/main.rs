//! The binary `vtflow`: arguments in, exit code out. Everything else is in the library.

use std::process::ExitCode;

/// What large answers took goes back to the system when they are gone; the C library's allocator keeps it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            vtflow::output::terminal::error_line(&format!("error: cannot start: {error}"));
            return ExitCode::from(2);
        }
    };
    let code = runtime.block_on(vtflow::cli::run(std::env::args_os()));
    // Tablets that hang must not keep the process: what is still under way is of no use to anybody.
    runtime.shutdown_background();
    code
}
