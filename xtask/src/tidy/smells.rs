//! Smells: printed, never a fault. Split by concern, or write the sentence that says why not.

use std::collections::BTreeMap;

use super::Source;

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 60;
const PARAMETERS_MAX: usize = 4;
const CRATE_LINES_MAX: usize = 5000;
const VAGUE_MODULES: &[&str] = &["util", "utils", "common", "manager"];

pub(super) fn find(files: &[Source]) -> Vec<String> {
    let mut smells = Vec::new();
    let mut crates: BTreeMap<&str, usize> = BTreeMap::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        let lines = file.text.lines().count();
        if lines > FILE_LINES_MAX {
            smells.push(format!("{}: {lines} lines", file.path));
        }
        let stem = file
            .path
            .rsplit('/')
            .next()
            .and_then(|name| name.strip_suffix(".rs"));
        if stem.is_some_and(|stem| VAGUE_MODULES.contains(&stem)) {
            smells.push(format!("{}: a module's name says what it owns", file.path));
        }
        if let Some(name) = file
            .path
            .strip_prefix("crates/")
            .and_then(|rest| rest.split_once("/src/"))
            .map(|(name, _)| name)
        {
            *crates.entry(name).or_default() += lines;
        }
        smells.extend(
            functions(&file.text)
                .into_iter()
                .flat_map(|function| function.smells(&file.path)),
        );
    }
    let large = crates
        .into_iter()
        .filter(|(_, lines)| *lines > CRATE_LINES_MAX);
    smells.extend(large.map(|(name, lines)| format!("crates/{name}: {lines} lines")));
    smells
}

struct Function<'a> {
    name: &'a str,
    line: usize,
    lines: usize,
    parameters: Vec<String>,
}

impl Function<'_> {
    fn smells(&self, path: &str) -> Vec<String> {
        let place = format!("{path}:{}: {}", self.line, self.name);
        let mut smells = Vec::new();
        if self.lines > FUNCTION_LINES_MAX {
            smells.push(format!("{place} has {} lines", self.lines));
        }
        if self.parameters.len() > PARAMETERS_MAX {
            smells.push(format!("{place} has {} parameters", self.parameters.len()));
        }
        if self
            .parameters
            .iter()
            .any(|parameter| parameter.ends_with(": bool"))
        {
            smells.push(format!("{place} takes a bool"));
        }
        smells
    }
}

/// The functions in formatted source: each ends at the first `}` under its first letter.
fn functions(text: &str) -> Vec<Function<'_>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = declared(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let closing = format!("{}}}", " ".repeat(indent));
        let rest = lines.get(index..).unwrap_or_default();
        let Some(length) = rest
            .iter()
            .position(|line| *line == closing || line.ends_with("{}"))
        else {
            continue;
        };
        let signature = rest
            .iter()
            .take_while(|line| !line.ends_with('{'))
            .chain(rest.iter().find(|line| line.ends_with('{')));
        // An arrow's head is no bracket.
        let signature = signature
            .map(|line| line.trim())
            .collect::<Vec<_>>()
            .join(" ")
            .replace("->", "  ");
        found.push(Function {
            name,
            line: index + 1,
            lines: length + 1,
            parameters: parameters(&signature),
        });
    }
    found
}

fn declared(line: &str) -> Option<&str> {
    const BEFORE: &[&str] = &["pub", "pub(crate)", "pub(super)", "const", "async"];
    let (before, after) = line.split_once("fn ")?;
    if !before.split_whitespace().all(|word| BEFORE.contains(&word)) {
        return None;
    }
    let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    after.get(..end).filter(|name| !name.is_empty())
}

/// The parameters of a signature, without the receiver.
fn parameters(signature: &str) -> Vec<String> {
    let (mut depth, mut current, mut all) = (0_usize, String::new(), Vec::new());
    // Generics come before the parameters: skip to the parenthesis that follows the name's angle brackets.
    let start = start_of_parameters(signature);
    for c in signature.chars().skip(start) {
        match c {
            '(' | '[' | '<' | '{' => depth += 1,
            ')' | ']' | '>' | '}' if depth == 0 => break,
            ')' | ']' | '>' | '}' => depth -= 1,
            ',' if depth == 0 => all.push(std::mem::take(&mut current)),
            _ => {}
        }
        if !(c == ',' && depth == 0) {
            current.push(c);
        }
    }
    all.push(current);
    let all = all.into_iter().map(|parameter| parameter.trim().to_owned());
    all.filter(|parameter| !parameter.is_empty() && !parameter.ends_with("self"))
        .collect()
}

fn start_of_parameters(signature: &str) -> usize {
    let mut angles = 0_usize;
    for (index, c) in signature
        .chars()
        .enumerate()
        .skip(signature.find("fn ").unwrap_or(0))
    {
        match c {
            '<' => angles += 1,
            '>' => angles = angles.saturating_sub(1),
            '(' if angles == 0 => return index + 1,
            _ => {}
        }
    }
    signature.len()
}

#[cfg(test)]
mod tests {
    use super::super::source;
    use super::*;

    #[test]
    fn smells_a_long_file_a_long_function_and_a_vague_name() {
        let long = format!(
            "pub fn long() {{\n{}}}\n",
            "    one();\n".repeat(FUNCTION_LINES_MAX)
        );
        let smells = find(&[source("crates/a/src/util.rs", &long)]);
        assert_eq!(smells.len(), 2, "{smells:?}");
        assert!(
            smells[1].contains("a/src/util.rs:1: long has 62 lines"),
            "{smells:?}"
        );
        let smells = find(&[source("a.rs", &"//\n".repeat(FILE_LINES_MAX + 1))]);
        assert_eq!(smells, ["a.rs: 501 lines"]);
    }

    #[test]
    fn smells_many_parameters_and_a_bool() {
        let text = "    fn many<F: Fn(u8) -> u8>(&mut self, a: (u8, u8), b: impl Fn() -> u8, c: F, d: u8, e: bool) {\n    }\n";
        let smells = find(&[source("a.rs", text)]);
        assert_eq!(
            smells,
            ["a.rs:1: many has 5 parameters", "a.rs:1: many takes a bool"]
        );
    }

    #[test]
    fn a_short_function_does_not_smell() {
        assert!(find(&[source("a.rs", "fn short(a: u8) -> u8 {\n    a\n}\n")]).is_empty());
    }
}
