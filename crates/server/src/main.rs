//! The binary is the command line; everything else is the library, so that tests can use it.

use std::process::ExitCode;

fn main() -> ExitCode {
    counterfoil::cli::main()
}
