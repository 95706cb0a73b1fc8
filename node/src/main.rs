//! The `bitchat` binary: see the library of the same name.

fn main() -> std::process::ExitCode {
    bitchat::cli::main()
}
