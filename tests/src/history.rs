//! Made-up histories of any size, the same bytes each time.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::Person;

/// The size of a made-up history: `commits` on `main`, each of which changes one of `files` files, a branch
/// `topic/N` for each of `branches` and an annotated tag `vN` for each of `tags`, spread over the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Commits on `main`.
    pub commits: u32,
    /// Files in the tree.
    pub files: u32,
    /// Branches beside `main`.
    pub branches: u32,
    /// Annotated tags.
    pub tags: u32,
}

impl Shape {
    /// A history that is over in a moment, with everything in it that a push can carry.
    pub const SMALL: Self = Self {
        commits: 60,
        files: 12,
        branches: 3,
        tags: 2,
    };

    /// Makes a repository with a work tree in `dir`, which must not exist.
    ///
    /// # Errors
    ///
    /// When git fails.
    pub fn write(self, person: &Person, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir)?;
        person
            .git(dir, ["init", "--quiet", "--initial-branch=main"])
            .run()?
            .success()?;
        let import = person
            .git(dir, ["fast-import", "--quiet", "--date-format=raw"])
            .input(self.stream()?);
        import.deadline(Duration::from_secs(600)).run()?.success()?;
        person
            .git(dir, ["reset", "--quiet", "--hard", "main"])
            .run()?
            .success()?;
        Ok(())
    }

    /// The history in the format of `git fast-import`.
    fn stream(self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        for number in 1..=self.commits {
            self.commit(&mut out, number)?;
        }
        out.push_str("done\n");
        Ok(out)
    }

    fn commit(self, out: &mut String, number: u32) -> std::fmt::Result {
        const START_S: u32 = 1_600_000_000;
        let file = number % self.files.max(1);
        let body = text(number, file);
        let who = format!("Dan <dan@example.org> {} +0000", START_S + number * 60);
        writeln!(
            out,
            "commit refs/heads/main\nmark :{number}\ncommitter {who}"
        )?;
        let message = format!("Change file {file} for the {number}th time\n");
        writeln!(out, "data {}\n{message}", message.len())?;
        if number > 1 {
            writeln!(out, "from :{}", number - 1)?;
        }
        writeln!(
            out,
            "M 100644 inline d{}/f{file}.txt\ndata {}\n{body}",
            file % 7,
            body.len()
        )?;
        for branch in at(number, self.branches, self.commits) {
            writeln!(out, "reset refs/heads/topic/{branch}\nfrom :{number}\n")?;
        }
        for tag in at(number, self.tags, self.commits) {
            let note = format!("Version {tag}\n");
            writeln!(
                out,
                "tag v{tag}\nfrom :{number}\ntagger {who}\ndata {}\n{note}",
                note.len()
            )?;
        }
        Ok(())
    }
}

/// Which of `count` things, spread evenly over `commits`, belong at commit `number`.
fn at(number: u32, count: u32, commits: u32) -> Vec<u32> {
    (1..=count)
        .filter(|which| (commits * which / (count + 1)).max(1) == number)
        .collect()
}

/// A file's content: mostly stable lines with a few that change, so that deltas are like those of source code.
fn text(number: u32, file: u32) -> String {
    const LINES: u32 = 40;
    let mut out = String::new();
    for line in 0..LINES {
        let salt = if line == number % LINES { number } else { 0 };
        let word =
            (file.wrapping_mul(2_654_435_761) ^ line.wrapping_mul(40_503)).wrapping_add(salt);
        out.push_str(&format!(
            "line {line} of file {file}: {word:08x} {:08x}\n",
            word.rotate_left(13)
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_shape_is_the_same_history() {
        assert_eq!(Shape::SMALL.stream(), Shape::SMALL.stream());
    }

    #[test]
    fn places_every_branch_and_tag() {
        let stream = Shape::SMALL.stream().expect("a string");
        assert_eq!(stream.matches("reset refs/heads/topic/").count(), 3);
        assert_eq!(stream.matches("\ntag v").count(), 2);
    }
}
