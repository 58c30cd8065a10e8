//! The sandbox as a server of its own: the same as `allclear sandbox`.

fn main() -> std::process::ExitCode {
    let mut args: Vec<std::ffi::OsString> = std::env::args_os().collect();
    args.insert(1.min(args.len()), "sandbox".into());
    allclear_cli::main_with(args, allclear_cli::Hooks::default())
}
