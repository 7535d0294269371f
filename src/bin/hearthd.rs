//! Arguments → logging → `App::build` → `App::run` → exit code; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    hearthd::daemon::main()
}
