//! Writes `tests/vectors/gossip` anew: `cargo run -p gitback-gossip --example vectors`.
//!
//! The test `vectors::files_are_what_the_corpus_makes` compares the files with what this would write.

use std::fs;

#[path = "../tests/it/corpus/mod.rs"]
mod corpus;

fn main() -> std::io::Result<()> {
    let folder = corpus::folder();
    fs::create_dir_all(&folder)?;
    for entry in fs::read_dir(&folder)? {
        fs::remove_file(entry?.path())?;
    }
    for file in corpus::files() {
        fs::write(folder.join(file.name()), file.text())?;
    }
    Ok(())
}
