//! The command line.

fn main() -> std::process::ExitCode {
    allclear_cli::main_with(std::env::args_os(), allclear_cli::Hooks::default())
}
