//! Reading what strace has seen of a daemon's files.
//!
//! Source: strace(1), output of `strace -f -ttt -y -xx`: every string and every path is in hexadecimal escapes.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use anyhow::{Context, Result, bail};

use super::disk::{Act, Disk, FileId};

/// Where it is.
const STRACE: &str = "/usr/bin/strace";

/// The system calls that say what becomes of files, and of processes that share them.
const CALLS: &str = "openat,open,creat,write,pwrite64,writev,pwritev,rename,renameat,renameat2,unlink,unlinkat,\
    mkdir,mkdirat,rmdir,ftruncate,truncate,link,linkat,symlink,symlinkat,fsync,fdatasync,lseek,close,dup,dup2,dup3,\
    fallocate,copy_file_range,sendfile,read,clone,clone3,fork,vfork";

/// The program, and what it is told so that a [`Reader`] can read what it writes to `log`.
pub(super) fn tool(log: &Path) -> Vec<OsString> {
    let calls = format!("trace={CALLS}");
    let tool = [STRACE, "-f", "-ttt", "-y", "-xx", "-s", "67108864", "-e"];
    let mut tool: Vec<OsString> = tool.map(OsString::from).to_vec();
    tool.extend([calls.into(), "-o".into(), log.into(), "--".into()]);
    tool
}

/// Whether strace is here and the system lets it trace.
pub(crate) fn can_trace() -> bool {
    let traced = Command::new(STRACE)
        .args(["-o", "/dev/null", "true"])
        .output();
    traced.is_ok_and(|output| output.status.success())
}

/// One thing that has happened to the files below a folder.
#[derive(Debug)]
pub(super) struct Step {
    /// Seconds since the epoch.
    pub(super) time: f64,
    /// How many steps had been done when it began.
    pub(super) begun: usize,
    pub(super) act: Act,
}

/// An open file, which processes may share.
#[derive(Debug, Clone)]
struct Open {
    file: Option<FileId>,
    path: PathBuf,
    offset: Rc<Cell<u64>>,
    appends: bool,
}

type Table = HashMap<i64, Open>;

/// Goes through a trace and says what happens to the files below `root`.
pub(super) struct Reader<'a> {
    root: &'a Path,
    disk: Disk,
    /// To which process a thread belongs.
    process: HashMap<u64, u64>,
    tables: HashMap<u64, Table>,
    /// What a thread is in the middle of, and how many steps had been done when that began.
    unfinished: HashMap<u64, (String, usize)>,
    steps: Vec<Step>,
}

/// A call that has ended.
struct Call<'a> {
    thread: u64,
    time: f64,
    /// How many steps had been done when it began.
    begun: usize,
    name: &'a str,
    arguments: Vec<&'a str>,
    result: &'a str,
}

impl<'a> Reader<'a> {
    /// For a trace that begins with what is on the disk now.
    pub(super) fn new(root: &'a Path, disk: Disk) -> Self {
        Self {
            root,
            disk,
            process: HashMap::new(),
            tables: HashMap::new(),
            unfinished: HashMap::new(),
            steps: Vec::new(),
        }
    }

    /// Reads a whole trace; what the disk was before it, and what has happened.
    pub(super) fn read(mut self, trace: &str) -> Result<Vec<Step>> {
        // It is killed with the daemon, perhaps in the middle of its last line.
        let whole = trace.rsplit_once('\n').map_or("", |(whole, _)| whole);
        for line in whole.lines() {
            self.line(line).with_context(|| {
                let shown: String = line.chars().take(200).collect();
                format!("cannot follow {shown}")
            })?;
        }
        Ok(self.steps)
    }

    fn line(&mut self, line: &str) -> Result<()> {
        let (thread, rest) = line.split_once(' ').context("no thread")?;
        let thread: u64 = thread.parse()?;
        let (time, text) = rest.trim_start().split_once(' ').context("no time")?;
        let time: f64 = time.parse()?;
        if text.starts_with("+++") || text.starts_with("---") {
            return Ok(());
        }
        if let Some(text) = text.strip_suffix(" <unfinished ...>") {
            // Another thread may get the same number before the call has ended.
            if let Some(number) = text.strip_prefix("close(") {
                let process = self.process_of(thread);
                let table = self.tables.entry(process).or_default();
                table.remove(&descriptor(number.trim_end_matches(')'))?);
            }
            let begun = (text.to_owned(), self.steps.len());
            self.unfinished.insert(thread, begun);
            return Ok(());
        }
        if text.starts_with("<... close resumed>") {
            self.unfinished.remove(&thread);
            return Ok(());
        }
        let mut begun = self.steps.len();
        let whole;
        let text = match text.strip_prefix("<... ") {
            Some(resumed) => {
                let (_, rest) = resumed.split_once(" resumed>").context("no end")?;
                let unfinished = self.unfinished.remove(&thread);
                let (start, before) = unfinished.context("it never began")?;
                begun = before;
                whole = start + rest;
                whole.as_str()
            }
            None => text,
        };
        let (call, result) = text.rsplit_once(" = ").context("no result")?;
        let call = call.trim_end();
        let (name, arguments) = call.split_once('(').context("no arguments")?;
        let arguments = arguments.strip_suffix(')').unwrap_or(arguments);
        self.call(&Call {
            thread,
            time,
            begun,
            name,
            arguments: arguments.split(", ").collect(),
            result,
        })
    }

    fn call(&mut self, call: &Call<'_>) -> Result<()> {
        let process = self.process_of(call.thread);
        let number = call.result.split(['<', ' ']).next().unwrap_or_default();
        let Ok(result) = number.parse::<i64>() else {
            return Ok(());
        };
        if result < 0 {
            return Ok(());
        }
        let argument = |at: usize| call.arguments.get(at).copied().unwrap_or_default();
        match call.name {
            "clone" | "clone3" | "fork" | "vfork" => {
                let child = u64::try_from(result)?;
                if call
                    .arguments
                    .iter()
                    .any(|one| one.contains("CLONE_THREAD"))
                {
                    self.process.insert(child, process);
                } else {
                    let table = self.tables.get(&process).cloned().unwrap_or_default();
                    self.process.insert(child, child);
                    self.tables.insert(child, table);
                }
            }
            "open" | "creat" => {
                let flags = if call.name == "creat" {
                    "O_CREAT|O_TRUNC"
                } else {
                    argument(1)
                };
                let path = path_of(argument(0), None)?;
                self.open(call, process, result, path, flags)?;
            }
            "openat" => {
                let path = path_of(argument(1), Some(argument(0)))?;
                self.open(call, process, result, path, argument(2))?;
            }
            "dup" | "dup2" | "dup3" => {
                let table = self.tables.entry(process).or_default();
                if let Some(open) = table.get(&descriptor(argument(0))?).cloned() {
                    table.insert(result, open);
                }
            }
            "close" => {
                let table = self.tables.entry(process).or_default();
                table.remove(&descriptor(argument(0))?);
            }
            "lseek" => {
                if let Some(open) = self.opened(process, argument(0))? {
                    open.offset.set(u64::try_from(result)?);
                }
            }
            "read" => {
                if let Some(open) = self.opened(process, argument(0))? {
                    open.offset.set(open.offset.get() + u64::try_from(result)?);
                }
            }
            "write" => {
                let Some(open) = self.opened(process, argument(0))? else {
                    return Ok(());
                };
                let mut bytes = bytes_of(argument(1))?;
                bytes.truncate(usize::try_from(result)?);
                let Some(file) = open.file else {
                    return Ok(());
                };
                let at = if open.appends {
                    self.disk.length(file)
                } else {
                    open.offset.get()
                };
                open.offset.set(at + u64::try_from(result)?);
                self.add(call, Act::Write { file, at, bytes });
            }
            "pwrite64" => {
                let Some(open) = self.opened(process, argument(0))? else {
                    return Ok(());
                };
                let mut bytes = bytes_of(argument(1))?;
                bytes.truncate(usize::try_from(result)?);
                let at: u64 = argument(3).parse()?;
                if let Some(file) = open.file {
                    self.add(call, Act::Write { file, at, bytes });
                }
            }
            "ftruncate" => {
                let length: u64 = argument(1).parse()?;
                if let Some(Open {
                    file: Some(file), ..
                }) = self.opened(process, argument(0))?
                {
                    self.add(call, Act::Cut { file, length });
                }
            }
            "fsync" | "fdatasync" => {
                if let Some(open) = self.opened(process, argument(0))? {
                    let act = match open.file {
                        Some(file) => Act::SyncFile { file },
                        None => Act::SyncFolder { path: open.path },
                    };
                    self.add(call, act);
                }
            }
            "mkdir" => self.make(call, path_of(argument(0), None)?),
            "mkdirat" => self.make(call, path_of(argument(1), Some(argument(0)))?),
            "unlink" | "rmdir" => self.remove(call, path_of(argument(0), None)?),
            "unlinkat" => self.remove(call, path_of(argument(1), Some(argument(0)))?),
            "rename" => {
                let (from, to) = (path_of(argument(0), None)?, path_of(argument(1), None)?);
                self.rename(call, from, to);
            }
            "renameat" | "renameat2" => {
                let from = path_of(argument(1), Some(argument(0)))?;
                let to = path_of(argument(3), Some(argument(2)))?;
                self.rename(call, from, to);
            }
            "link" | "linkat" => {
                let (from, to) = if call.name == "link" {
                    (path_of(argument(0), None)?, path_of(argument(1), None)?)
                } else {
                    let from = path_of(argument(1), Some(argument(0)))?;
                    (from, path_of(argument(3), Some(argument(2)))?)
                };
                if let (true, Some(file)) = (self.is_ours(&to), self.disk.file(&from)) {
                    self.add(call, Act::Name { path: to, file });
                }
            }
            // What writes in another way than these would be missed.
            name => {
                let touches = call
                    .arguments
                    .iter()
                    .any(|one| path_in(one).is_some_and(|path| self.is_ours(&path)));
                if touches {
                    bail!("{name} is not known");
                }
            }
        }
        Ok(())
    }

    /// The process of a thread. One that nobody has begun yet may be of a call that has not ended.
    fn process_of(&mut self, thread: u64) -> u64 {
        if let Some(process) = self.process.get(&thread) {
            return *process;
        }
        let mut beginning = self
            .unfinished
            .iter()
            .filter(|(_, (text, _))| text.starts_with("clone") && text.contains("CLONE_THREAD"));
        let above = beginning
            .next()
            .and_then(|(above, _)| self.process.get(above));
        let process = above.copied().unwrap_or(thread);
        self.process.insert(thread, process);
        process
    }

    fn open(
        &mut self,
        call: &Call<'_>,
        process: u64,
        result: i64,
        path: PathBuf,
        flags: &str,
    ) -> Result<()> {
        // By where it leads, links followed.
        let path = path_in(call.result).unwrap_or(path);
        if !self.is_ours(&path) {
            self.tables.entry(process).or_default().remove(&result);
            return Ok(());
        }
        let is_new = self.disk.file(&path).is_none() && !self.disk.is_folder(&path);
        if is_new && flags.contains("O_TMPFILE") {
            bail!("a file without a name");
        }
        if is_new {
            let file = self.disk.new_file();
            self.add(
                call,
                Act::Name {
                    path: path.clone(),
                    file,
                },
            );
        } else if let (true, Some(file)) = (flags.contains("O_TRUNC"), self.disk.file(&path)) {
            self.add(call, Act::Cut { file, length: 0 });
        }
        let open = Open {
            file: self.disk.file(&path),
            path,
            offset: Rc::new(Cell::new(0)),
            appends: flags.contains("O_APPEND"),
        };
        self.tables.entry(process).or_default().insert(result, open);
        Ok(())
    }

    fn make(&mut self, call: &Call<'_>, path: PathBuf) {
        if self.is_ours(&path) {
            self.add(call, Act::Make { path });
        }
    }

    fn remove(&mut self, call: &Call<'_>, path: PathBuf) {
        if self.is_ours(&path) {
            self.add(call, Act::Remove { path });
        }
    }

    fn rename(&mut self, call: &Call<'_>, from: PathBuf, to: PathBuf) {
        let file = self.disk.file(&from);
        if file.is_some() || self.disk.is_folder(&from) {
            self.add(call, Act::Rename { from, to, file });
        } else if self.disk.file(&to).is_some() {
            // By something that is not played with, such as a socket.
            self.add(call, Act::Remove { path: to });
        }
    }

    fn opened(&self, process: u64, argument: &str) -> Result<Option<Open>> {
        let table = self.tables.get(&process);
        Ok(table
            .and_then(|table| table.get(&descriptor(argument).ok()?))
            .cloned())
    }

    fn add(&mut self, call: &Call<'_>, act: Act) {
        self.disk.apply(&act, None);
        let Call { time, begun, .. } = *call;
        self.steps.push(Step { time, begun, act });
    }

    fn is_ours(&self, path: &Path) -> bool {
        path.starts_with(self.root)
    }
}

/// The number before `<path>`.
fn descriptor(argument: &str) -> Result<i64> {
    let number = argument.split('<').next().unwrap_or_default();
    number.parse().context("no descriptor")
}

/// The path in `3<path>`.
fn path_in(argument: &str) -> Option<PathBuf> {
    let (_, rest) = argument.split_once('<')?;
    let path = unescaped(rest.split('>').next()?).ok()?;
    path.starts_with(b"/")
        .then(|| PathBuf::from(OsString::from_vec(path)))
}

/// The path `"path"`, relative to that in `3<path>` or `AT_FDCWD<path>`.
fn path_of(argument: &str, from: Option<&str>) -> Result<PathBuf> {
    let path = PathBuf::from(OsString::from_vec(bytes_of(argument)?));
    if path.is_absolute() {
        return Ok(path);
    }
    let from = from.and_then(path_in).context("a relative path")?;
    Ok(from.join(path))
}

/// The bytes of `"\x61\x62"`.
fn bytes_of(argument: &str) -> Result<Vec<u8>> {
    let quoted = argument
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    unescaped(quoted.context("strace was to show everything")?)
}

fn unescaped(text: &str) -> Result<Vec<u8>> {
    let hex = |part: &str| u8::from_str_radix(part, 16).context("no hexadecimal digits");
    text.split("\\x").skip(1).map(hex).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> String {
        text.bytes().map(|byte| format!("\\x{byte:02x}")).collect()
    }

    /// What is written to which file, in a trace where `{a}` and `{b}` are files.
    fn written(trace: &[&str]) -> Vec<(PathBuf, Vec<u8>)> {
        let (a, b) = (hex("/root/a"), hex("/root/b"));
        let whole: String = trace
            .iter()
            .map(|line| line.replace("{a}", &a).replace("{b}", &b) + "\n")
            .collect();
        let reader = Reader::new(Path::new("/root"), Disk::default());
        let steps = reader.read(&whole).expect("it can be followed");
        let mut names = HashMap::new();
        let mut written = Vec::new();
        for step in steps {
            match step.act {
                Act::Name { path, file } => drop(names.insert(file, path)),
                Act::Write { file, bytes, .. } => written.push((names[&file].clone(), bytes)),
                _ => {}
            }
        }
        written
    }

    const THREAD: &str = "7 0.1 clone3({flags=CLONE_VM|CLONE_THREAD}, 88) = 8";
    const OPEN_A: &str = r#"7 0.2 openat(AT_FDCWD</>, "{a}", O_WRONLY|O_CREAT, 0600) = 4<{a}>"#;

    #[test]
    fn a_number_may_be_given_anew_before_the_end_of_its_close_is_seen() {
        let trace = [
            THREAD,
            OPEN_A,
            "7 0.3 close(4<{a}> <unfinished ...>",
            r#"8 0.4 openat(AT_FDCWD</>, "{b}", O_WRONLY|O_CREAT, 0600) = 4<{b}>"#,
            "7 0.5 <... close resumed>) = 0",
            r#"8 0.6 write(4<{b}>, "\x78", 1) = 1"#,
        ];
        assert_eq!(written(&trace), [("/root/b".into(), b"x".to_vec())]);
    }

    #[test]
    fn a_thread_may_be_seen_before_the_end_of_the_call_that_begins_it() {
        let trace = [
            OPEN_A,
            "7 0.3 clone3({flags=CLONE_VM|CLONE_THREAD} <unfinished ...>",
            r#"8 0.4 write(4<{a}>, "\x78", 1) = 1"#,
            "7 0.5 <... clone3 resumed>, 88) = 8",
        ];
        assert_eq!(written(&trace), [("/root/a".into(), b"x".to_vec())]);
    }
}
