//! Writes the seeds of every target from the vectors: `cargo run --example seeds FOLDER`.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use gitback_fuzz::KINDS;
use gitback_identity::hex;
use toml::Value;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors");
/// More bytes than any vector has.
const INPUT_MAX: usize = 2 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("name the folder")?;
    let mut seeds = Seeds {
        folder: folder.into(),
        written: 0,
    };
    for envelope in values("envelope", "envelope")? {
        let bytes = bytes(&envelope)?;
        seeds.write("envelope", &bytes)?;
        if let Some((type_name, body)) = parts(&bytes) {
            seeds.write("statement", &[&[choice(type_name)], body].concat())?;
        }
    }
    for envelope in values("name-claim", "envelope")? {
        let bytes = bytes(&envelope)?;
        seeds.write("name_claim", &bytes)?;
        if let Some((_, body)) = parts(&bytes) {
            seeds.write("name_claim", body)?;
        }
    }
    for token in values("token", "token")? {
        seeds.write("token", &[&[0], bytes(&token)?.as_slice()].concat())?;
    }
    seeds.write("token", &[1, 0, 1])?;
    seeds.write("token", &[1, 2, 3, 5, 6, 7, 8])?;
    for text in values("identity", "text")? {
        seeds.write("address", text.as_bytes())?;
    }
    for case in values("gossip", "bytes")? {
        let bytes = bytes(&case)?;
        seeds.write("gossip", &[&[0], bytes.as_slice()].concat())?;
        seeds.write(
            "gossip",
            &[&[3], bytes.get(32..).unwrap_or_default()].concat(),
        )?;
        // A message without its topic, from the second peer, after a few milliseconds.
        let rest = bytes.get(32..).unwrap_or_default();
        if let Ok(length) = u8::try_from(rest.len()) {
            seeds.write("gossip", &[&[2, 0, 1, 0, 9, length], rest].concat())?;
        }
    }
    Ok(())
}

struct Seeds {
    folder: PathBuf,
    written: usize,
}

impl Seeds {
    fn write(&mut self, target: &str, input: &[u8]) -> Result<(), Box<dyn Error>> {
        let folder = self.folder.join(target);
        fs::create_dir_all(&folder)?;
        self.written += 1;
        fs::write(folder.join(format!("seed-{:04}", self.written)), input)?;
        Ok(())
    }
}

/// The values that the cases in one folder of the vectors have under `name`.
fn values(area: &str, name: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let mut paths: Vec<_> = fs::read_dir(Path::new(VECTORS).join(area))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_, std::io::Error>>()?;
    paths.sort();
    let mut values = Vec::new();
    for path in paths {
        let file: toml::Table = fs::read_to_string(&path)?.parse()?;
        let cases = file.get("case").and_then(Value::as_array);
        let found = cases.into_iter().flatten();
        let found = found.filter_map(|case| case.get(name)?.as_str().map(str::to_owned));
        values.extend(found);
    }
    Ok(values)
}

fn bytes(text: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    Ok(hex::decode(text, INPUT_MAX).ok_or("a vector is not hex")?)
}

fn choice(type_name: &str) -> u8 {
    let named = |kind: &&str| type_name.contains(&format!(".{kind}+"));
    let found = KINDS.iter().position(|kind| named(&kind));
    u8::try_from(found.unwrap_or(KINDS.len() - 1)).expect("there are few kinds")
}

/// Type and body, if the bytes look like an envelope as far as that.
fn parts(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let rest = bytes.strip_prefix(&[0x83])?;
    let (type_name, rest) = item(3, rest)?;
    let (body, _) = item(2, rest)?;
    Some((str::from_utf8(type_name).ok()?, body))
}

/// The text or byte string in front, and what follows it.
fn item(major: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let wide = match first.checked_sub(major << 5)? {
        small @ 0..24 => return rest.split_at_checked(small.into()),
        24 => 1,
        25 => 2,
        26 => 4,
        _ => return None,
    };
    let (length, rest) = rest.split_at_checked(wide)?;
    let length = length
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    rest.split_at_checked(length)
}
