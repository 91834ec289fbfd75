//! The two streams that people read: the answer, and talk about it.

use std::fmt::Display;
use std::io::{self, Write};

use gitback_helper::Failure;
use serde::Serialize;

use crate::show;

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It failed; to be reported.
    Failed(Box<Failure>),
    /// Nobody reads the answer any more.
    NobodyReads,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::NobodyReads;
        }
        crate::failure::output(&error).into()
    }
}

/// Where a command writes. stdout is the answer, stderr is talk.
pub(crate) struct Console<'a> {
    answer: &'a mut dyn Write,
    talk: &'a mut dyn Write,
}

impl<'a> Console<'a> {
    pub(crate) fn new(answer: &'a mut dyn Write, talk: &'a mut dyn Write) -> Self {
        Self { answer, talk }
    }

    /// One line, or several, of the answer.
    pub(crate) fn line(&mut self, text: impl Display) -> Result<(), Stop> {
        Ok(writeln!(self.answer, "{text}")?)
    }

    /// A part of the answer, without a newline.
    pub(crate) fn raw(&mut self, text: impl Display) -> Result<(), Stop> {
        Ok(write!(self.answer, "{text}")?)
    }

    /// The whole answer as JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Stop> {
        let json = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
        self.line(json)
    }

    /// Makes sure that the answer is out.
    pub(crate) fn finish(&mut self) -> Result<(), Stop> {
        Ok(self.answer.flush()?)
    }

    /// One line of talk.
    pub(crate) fn progress(&mut self, text: impl Display) {
        self.say("", "", text);
    }

    pub(crate) fn warning(&mut self, text: impl Display) {
        self.say("33;1", "warning: ", text);
    }

    pub(crate) fn hint(&mut self, text: impl Display) {
        self.say("36", "hint: ", text);
    }

    /// A failure, one line for each part.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        self.say("31;1", "error: ", &failure.what);
        if let Some(why) = &failure.why {
            self.say("1", "why:   ", why);
        }
        for hint in &failure.hints {
            self.say("36", "hint:  ", hint);
        }
    }

    /// A failure, as one JSON object on one line.
    pub(crate) fn failure_as_json(&mut self, failure: &Failure) {
        let report = Report {
            message_type: "error",
            code: failure.code,
            what: &failure.what,
            why: failure.why.as_deref(),
            hints: &failure.hints,
        };
        let json = serde_json::to_string(&report).unwrap_or_default();
        self.progress(json);
    }

    /// A prompt: no newline.
    pub(crate) fn prompt(&mut self, text: impl Display) {
        // If nobody can read the question, there is nobody to tell.
        let _ = write!(self.talk, "{text}").and_then(|()| self.talk.flush());
    }

    fn say(&mut self, colour: &str, word: &str, text: impl Display) {
        let (on, off) = match colour {
            "" => (String::new(), ""),
            code => (format!("\x1b[{code}m"), "\x1b[0m"),
        };
        let text = text.to_string();
        let lines: Vec<String> = text.lines().map(show::plain).collect();
        let text = lines.join("\n       ");
        // Talk that nobody can read is no reason to fail.
        let _ = writeln!(self.talk, "{on}{word}{off}{text}");
    }
}

/// A failure under `--json`.
///
/// Source: docs/spec/json.md.
#[derive(Serialize)]
struct Report<'a> {
    message_type: &'static str,
    code: u8,
    what: &'a str,
    why: Option<&'a str>,
    hints: &'a [String],
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(tell: fn(&mut Console<'_>, &Failure)) -> String {
        let (mut answer, mut talk) = (Vec::new(), Vec::new());
        let failure = Failure {
            code: 11,
            what: "puddle dan is locked".to_owned(),
            why: None,
            hints: vec!["vigo swarm puddle unlock".to_owned()],
        };
        tell(&mut Console::new(&mut answer, &mut talk), &failure);
        assert!(answer.is_empty());
        let plain = anstream::adapter::strip_bytes(&talk).into_vec();
        String::from_utf8(plain).expect("UTF-8")
    }

    #[test]
    fn failures_have_a_line_for_each_part() {
        let text = "error: puddle dan is locked\nhint:  vigo swarm puddle unlock\n";
        assert_eq!(said(|console, failure| console.failure(failure)), text);
    }

    #[test]
    fn failures_are_one_object_as_json() {
        let text = "{\"message_type\":\"error\",\"code\":11,\"what\":\"puddle dan is locked\",\
                    \"why\":null,\"hints\":[\"vigo swarm puddle unlock\"]}\n";
        assert_eq!(
            said(|console, failure| console.failure_as_json(failure)),
            text
        );
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(matches!(Stop::from(closed), Stop::NobodyReads));
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(matches!(Stop::from(full), Stop::Failed(_)));
    }
}
