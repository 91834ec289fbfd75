//! `vigo`, and the other names under which it is called.

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use git_remote_gitback::{Streams, Surroundings, unbuffered};
use vigo::Facts;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().collect();
    let uid = rustix::process::geteuid().as_raw();
    if vigo::is_remote_helper(&arguments) {
        return remote_helper(&arguments, uid);
    }
    let mut facts = Facts::from_lookup(uid, &|name| env::var_os(name), &|path| path.exists());
    facts.program = env::current_exe().ok();
    if let Ok(directory) = env::current_dir() {
        facts.directory = directory;
    }
    let mut answer = anstream::stdout().lock();
    // Not locked: the daemon's threads write their log there too.
    let mut talk = anstream::stderr();
    ExitCode::from(vigo::run(&arguments, &facts, &mut answer, &mut talk))
}

fn remote_helper(arguments: &[OsString], uid: u32) -> ExitCode {
    let surroundings =
        Surroundings::from_lookup(uid, &|name| env::var_os(name), &|path| path.exists());
    let (Ok(input), Ok(output)) = (unbuffered(std::io::stdin()), unbuffered(std::io::stdout()))
    else {
        return ExitCode::from(git_remote_gitback::FAILED);
    };
    let streams = Streams {
        input,
        output,
        errors: std::io::stderr(),
    };
    let arguments = arguments.get(1..).unwrap_or_default();
    ExitCode::from(git_remote_gitback::run(arguments, &surroundings, streams))
}
