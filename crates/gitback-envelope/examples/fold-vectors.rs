//! Writes `tests/vectors/fold` anew: `cargo run -p gitback-envelope --example fold-vectors`.
//!
//! The test `fold::vectors::files_are_what_the_scenes_make` compares the files with what this would write.

use std::fs;
use std::path::Path;

#[path = "../tests/it/corpus/mod.rs"]
#[expect(dead_code, reason = "the other vectors are written elsewhere")]
mod corpus;
#[path = "../tests/it/fold/modelled.rs"]
#[expect(dead_code, reason = "only the tests ask the model")]
mod modelled;
#[path = "../tests/it/fold/play.rs"]
#[expect(dead_code, reason = "only the tests look at who took part")]
mod play;
#[path = "../tests/it/fold/scenes.rs"]
mod scenes;
#[path = "../tests/it/fold/stage.rs"]
#[expect(dead_code, reason = "the attacks need more of it")]
mod stage;
#[path = "../tests/it/fold/world.rs"]
#[expect(dead_code, reason = "the named cases need more of it")]
mod world;

fn main() -> std::io::Result<()> {
    let folder = Path::new(scenes::FOLDER);
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(folder)? {
        fs::remove_file(entry?.path())?;
    }
    for file in scenes::files() {
        fs::write(folder.join(file.name()), file.text())?;
    }
    Ok(())
}
