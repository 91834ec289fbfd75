//! What the user reads on stderr.

use std::io::Write;

use gitback_helper::Failure;

/// The longest line that is passed on to a terminal, in characters.
const LINE_MAX: usize = 1000;

/// The user's ear: refusals always, remarks unless they asked for silence.
pub(crate) struct Talk<'a> {
    errors: &'a mut dyn Write,
    quiet: bool,
}

impl<'a> Talk<'a> {
    pub(crate) fn new(errors: &'a mut dyn Write) -> Self {
        Self {
            errors,
            quiet: false,
        }
    }

    pub(crate) fn set_quiet(&mut self, quiet: bool) {
        self.quiet = quiet;
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Says one line, unless the user asked for silence.
    pub(crate) fn remark(&mut self, text: &str) {
        if !self.quiet {
            self.line(text);
        }
    }

    /// Says why nothing comes of it, whatever the user asked for.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        for line in failure.to_string().lines() {
            self.line(line);
        }
    }

    /// Writes one line at once, so that it does not interleave with git's own.
    fn line(&mut self, text: &str) {
        let line = format!("{}\n", printable(text));
        // Nobody reads stderr: then nobody misses it.
        let _ = self
            .errors
            .write_all(line.as_bytes())
            .and_then(|()| self.errors.flush());
    }
}

/// Text that cannot move a terminal's cursor: names in it may come from other machines.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .take(LINE_MAX)
        .map(|character| {
            if character.is_control() {
                '?'
            } else {
                character
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(
            printable("from \u{1b}[2Jvenus\r\u{7}\u{9b}"),
            "from ?[2Jvenus???"
        );
        assert_eq!(printable("Grüße von dan"), "Grüße von dan");
    }

    #[test]
    fn silence_hides_remarks_and_no_refusals() {
        let mut heard = Vec::new();
        let mut talk = Talk::new(&mut heard);
        talk.set_quiet(true);
        talk.remark("asking venus");
        let failure = Failure {
            code: 1,
            what: "no".to_owned(),
            why: Some("two\nlines".to_owned()),
            hints: vec![],
        };
        talk.failure(&failure);

        assert_eq!(
            String::from_utf8_lossy(&heard),
            "error: no\nwhy:   two\nlines\n"
        );
    }
}
