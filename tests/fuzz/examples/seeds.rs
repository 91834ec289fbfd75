//! Writes the seeds of every target from the vectors: `cargo run --example seeds FOLDER`.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use gitback_fleet::{
    EnrolRequest, Enrolment, Petition, Place, Removal, Role, Roster, Ticket, Welcome,
};
use gitback_fuzz::{KINDS, known};
use gitback_identity::{EnvoyKey, hex};
use gitback_puddle::{Cost, Passphrase, create, export, recovery_words, rotate};
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
    write_fleet(&mut seeds)?;
    write_pairing(&mut seeds)
}

/// One of each kind, signed by the first of the vectors' keys; those that are signed as bodies alone.
fn write_fleet(seeds: &mut Seeds) -> Result<(), Box<dyn Error>> {
    let (authority, venus) = (known(1), known(2));
    let key = EnvoyKey::new(venus.public());
    let through = Some(EnvoyKey::new(known(3).public()));
    let enrolment = Enrolment::sign(&authority, key, "venus", Role::Member, 7, 9, through)?;
    let removal = Removal::sign(&authority, key, "venus", 8)?;
    let addresses = ["192.0.2.1:1531".to_owned()];
    let request = EnrolRequest::sign(&venus, "venus", &addresses, &[1; 32])?;
    let mut roster = Roster::new(authority.public());
    roster.enrol(enrolment.clone())?;
    let welcome = Welcome {
        roster: roster.clone(),
        places: vec![Place {
            envoy: key,
            addresses: addresses.to_vec(),
        }],
    };
    roster.remove(removal.clone())?;
    let petition = Petition {
        request: request.clone(),
        challenge: [1; 32],
        secret: Some([2; 16]),
    };
    let ticket = Ticket::new(key, [2; 16], &addresses).to_string();
    let signed = [
        (0, 0, enrolment.bytes()),
        (1, 0, removal.bytes()),
        (2, 1, request.bytes()),
    ];
    for (what, by, bytes) in signed {
        let rest = bytes.strip_prefix(&[0x82]).ok_or("two items")?;
        let (body, _) = item(2, rest).ok_or("a body")?;
        seeds.write("fleet", &[&[what, by], body].concat())?;
    }
    let whole = [
        (3, roster.encode()),
        (4, petition.encode()),
        (5, welcome.encode()),
        (6, ticket.into_bytes()),
        (7, (0..96).collect()),
    ];
    for (what, bytes) in whole {
        seeds.write("fleet", &[&[what, 0], bytes.as_slice()].concat())?;
    }
    Ok(())
}

fn write_pairing(seeds: &mut Seeds) -> Result<(), Box<dyn Error>> {
    let code = ["abandon", "ability", "able", "about", "above", "absent"].join(" ");
    seeds.write("pairing", &[&[0], code.as_bytes()].concat())?;
    let words = recovery_words(&known(1));
    seeds.write("pairing", &[&[1], words.as_bytes()].concat())?;
    let home = std::env::temp_dir().join(format!("gitback-seeds-{}", std::process::id()));
    let passphrase = Passphrase::new("orange".to_owned())?;
    let cheap = Cost::new(64, 1, 1)?;
    create(&home, &"dan".parse()?, &passphrase, &known(1), cheap, 1)?;
    rotate(&home, &passphrase, &known(2), cheap, 1)?;
    let carried = export(&home);
    fs::remove_dir_all(&home)?;
    let carried = carried?;
    let mut bytes = [&[2], carried.current()].concat();
    for retired in carried.retired() {
        bytes.push(0);
        bytes.extend_from_slice(retired);
    }
    seeds.write("pairing", &bytes)
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
