use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = hearthd::helper::dispatch(&args) {
        return code;
    }
    ExitCode::from(hearthd::cli::run(args))
}
