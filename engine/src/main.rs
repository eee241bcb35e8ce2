//! The `engine` binary: turns a returned code into an exit and nothing else.

fn main() -> std::process::ExitCode {
    engine::run(std::env::args_os())
}
