//! What git asks of a remote helper.
//!
//! Source: gitremote-helpers(7), "COMMANDS" and "OPTIONS".

use std::io::{BufRead, BufReader, Read};

use gitback_helper::{Failure, Service};

use crate::failures;

/// The longest command, in bytes and without its newline.
pub(crate) const COMMAND_MAX: usize = 8 * 1024;

/// One line from git.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// An empty line or the end of the input.
    End,
    /// `capabilities`
    Capabilities,
    /// `option verbosity <n>`
    Verbosity(i32),
    /// `option progress <true|false>`
    Progress(bool),
    /// Any other option, or one with a value that makes no sense.
    UnknownOption,
    /// `connect <service>` with a service that this helper offers.
    Connect(Service),
    /// `connect <service>` with any other.
    ConnectElsewhere,
}

/// Reads the next line.
pub(crate) fn read_command<R: Read>(input: &mut BufReader<R>) -> Result<Command, Failure> {
    let limit = u64::try_from(COMMAND_MAX).unwrap_or(u64::MAX) + 1;
    let mut line = Vec::new();
    input
        .take(limit)
        .read_until(b'\n', &mut line)
        .map_err(|error| failures::input(&error))?;
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() > COMMAND_MAX {
        return Err(failures::command_too_long(COMMAND_MAX));
    } else if !line.is_empty() {
        return Err(failures::command_cut_short());
    }
    let text = std::str::from_utf8(&line)
        .map_err(|_| failures::command_unknown(&String::from_utf8_lossy(&line)))?;
    parse(text).ok_or_else(|| failures::command_unknown(text))
}

fn parse(line: &str) -> Option<Command> {
    if line.is_empty() {
        return Some(Command::End);
    }
    match line.split_once(' ').unwrap_or((line, "")) {
        ("capabilities", "") => Some(Command::Capabilities),
        ("connect", "git-upload-pack") => Some(Command::Connect(Service::UploadPack)),
        ("connect", "git-receive-pack") => Some(Command::Connect(Service::ReceivePack)),
        ("connect", _) => Some(Command::ConnectElsewhere),
        ("option", rest) => Some(parse_option(rest)),
        _ => None,
    }
}

fn parse_option(option: &str) -> Command {
    match option.split_once(' ') {
        Some(("verbosity", level)) => level
            .parse()
            .map_or(Command::UnknownOption, Command::Verbosity),
        Some(("progress", "true")) => Command::Progress(true),
        Some(("progress", "false")) => Command::Progress(false),
        _ => Command::UnknownOption,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Option<Command>) {
        let mut input = BufReader::new(line.as_bytes());
        assert_eq!(read_command(&mut input).ok(), expected, "{line:?}");
    }

    #[test]
    fn reads_what_git_says() {
        check("capabilities\n", Some(Command::Capabilities));
        check("option verbosity 0\n", Some(Command::Verbosity(0)));
        check("option verbosity -1\n", Some(Command::Verbosity(-1)));
        check("option verbosity much\n", Some(Command::UnknownOption));
        check("option progress true\n", Some(Command::Progress(true)));
        check("option progress perhaps\n", Some(Command::UnknownOption));
        check("option depth 3\n", Some(Command::UnknownOption));
        check("option\n", Some(Command::UnknownOption));
        check(
            "connect git-upload-pack\n",
            Some(Command::Connect(Service::UploadPack)),
        );
        check(
            "connect git-receive-pack\n",
            Some(Command::Connect(Service::ReceivePack)),
        );
        check(
            "connect git-upload-archive\n",
            Some(Command::ConnectElsewhere),
        );
        check("\n", Some(Command::End));
        check("", Some(Command::End));
    }

    #[test]
    fn rejects_what_it_does_not_offer() {
        for line in [
            "list\n",
            "list for-push\n",
            "fetch x y\n",
            "push a:b\n",
            "import x\n",
            " \n",
        ] {
            check(line, None);
        }
    }

    #[test]
    fn rejects_a_line_that_is_cut_short() {
        check("capabilities", None);
        check("connect git-receive-p", None);
    }

    #[test]
    fn rejects_bytes_that_are_no_text() {
        let mut input = BufReader::new(&b"list \xff\n"[..]);
        assert!(read_command(&mut input).is_err());
    }

    #[test]
    fn a_command_has_a_longest_length() {
        let option = |length: usize| format!("option {}\n", "x".repeat(length - 7));
        check(&option(COMMAND_MAX), Some(Command::UnknownOption));
        check(&option(COMMAND_MAX + 1), None);

        let mut endless = BufReader::new(std::io::repeat(b'x'));
        assert!(read_command(&mut endless).is_err());
    }

    #[test]
    fn what_follows_a_command_is_left_for_the_next() {
        let mut input = BufReader::new(&b"connect git-upload-pack\n0014command=ls-refs"[..]);
        read_command(&mut input).expect("a command");
        let mut rest = String::new();
        input.read_to_string(&mut rest).expect("text");
        assert_eq!(rest, "0014command=ls-refs");
    }
}
