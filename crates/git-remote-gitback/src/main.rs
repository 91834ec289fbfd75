//! The program that git starts for a `gitback://` address.

use std::process::ExitCode;

use git_remote_gitback::{Streams, Surroundings, run, unbuffered};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let uid = rustix::process::geteuid().as_raw();
    let surroundings =
        Surroundings::from_lookup(uid, &|name| std::env::var_os(name), &|path| path.exists());
    let (Ok(input), Ok(output)) = (unbuffered(std::io::stdin()), unbuffered(std::io::stdout()))
    else {
        return ExitCode::from(git_remote_gitback::FAILED);
    };
    let errors = std::io::stderr();
    ExitCode::from(run(
        &arguments,
        &surroundings,
        Streams {
            input,
            output,
            errors,
        },
    ))
}
