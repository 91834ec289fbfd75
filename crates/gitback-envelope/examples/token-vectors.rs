//! Writes `tests/vectors/token` anew: `cargo run -p gitback-envelope --example token-vectors`.
//!
//! The test `token::files_are_what_the_cases_make` compares the files with what this would write.

#![allow(
    dead_code,
    reason = "the tests use more of the cases than what writes them"
)]

use std::fs;
use std::path::Path;

#[path = "../tests/it/token/cases.rs"]
mod cases;

fn main() -> std::io::Result<()> {
    let folder = Path::new(cases::FOLDER);
    fs::create_dir_all(folder)?;
    for file in cases::files() {
        fs::write(folder.join(file.name()), file.text())?;
    }
    Ok(())
}
