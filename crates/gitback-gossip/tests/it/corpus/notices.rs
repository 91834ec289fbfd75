//! Notices, and the address records in them.

use gitback_envelope::signing_bytes;
use gitback_identity::hex;

use super::{Case, File, case, public, secret};

const TYPE: &str = "application/vnd.gitback-address.v1+cbor";
const EXPIRES: u64 = 1_800_000_000_000;

pub(super) fn files() -> Vec<File> {
    let mut files = vec![
        file("accepted", "Notices that hold.", accepted()),
        file(
            "too-large",
            "More than 1024 bytes.",
            vec![case("1025 bytes", project(&[0; 1025 - 104]))],
        ),
    ];
    files.extend(shapes());
    files.extend(fields());
    files.extend(records());
    files
}

fn accepted() -> Vec<Case> {
    let holder = public(2);
    let mut held = case("somebody holds something of a project", project(&[]));
    held.facts = vec![
        ("project", quoted(&hex::encode(&[0x11; 32]))),
        ("digest", quoted(&hex::encode(&[0x22; 32]))),
        ("holder", quoted(&hex::encode(&holder))),
    ];
    let addresses = [
        "10.0.0.7:9418",
        "[fe80::1%eth0]:9418",
        "mars.example.org:443",
    ];
    let long = format!("{}:65535", "h".repeat(249));
    vec![
        held,
        reachable(
            "an envoy can be reached at three places",
            "mars",
            &addresses,
        ),
        reachable("an envoy can only be waited for", "", &[]),
        reachable("as many addresses as there may be", "mars", &["a:1"; 8]),
        reachable("as long an address as there may be", "mars", &[&long]),
        reachable("as long a name as there may be", &"é".repeat(32), &["a:1"]),
    ]
}

fn reachable(note: &'static str, name: &str, addresses: &[&str]) -> Case {
    let body = body(name, addresses);
    let mut case = case(note, notice(&record(&body)));
    let listed: Vec<String> = addresses.iter().map(|address| quoted(address)).collect();
    case.facts = vec![
        ("key", quoted(&hex::encode(&public(1)))),
        ("name", quoted(name)),
        ("addresses", format!("[{}]", listed.join(", "))),
        ("number", "7".to_owned()),
        ("expires_ms", EXPIRES.to_string()),
        ("signed", quoted(&hex::encode(&signing_bytes(TYPE, &body)))),
    ];
    case
}

fn shapes() -> Vec<File> {
    let mut short = project(&[]);
    short.pop();
    let mut wide = vec![0x98, 4];
    wide.extend(project(&[]).into_iter().skip(1));
    let mut negative = vec![0x84, 0x20];
    negative.extend(project(&[]).into_iter().skip(2));
    vec![
        file(
            "truncated",
            "The bytes end inside an item.",
            vec![
                case("nothing at all", Vec::new()),
                case("one byte less", short),
            ],
        ),
        file(
            "trailing-bytes",
            "Bytes follow the last item.",
            vec![
                case("after the notice", project(&[0])),
                case(
                    "after the record",
                    notice(&[record(&ordinary()), vec![0]].concat()),
                ),
                case(
                    "after the body",
                    notice(&record(&[ordinary(), vec![0]].concat())),
                ),
            ],
        ),
        file(
            "not-shortest",
            "A number or a length is not in its shortest form.",
            vec![case("the length of the array", wide)],
        ),
        file(
            "wrong-item-type",
            "An item of another type stands where this one is expected.",
            vec![
                case("a map", vec![0xa0]),
                case("a text for the kind", vec![0x82, 0x61, b'1', 0x40]),
                case("a number for the record", vec![0x82, 0x02, 0x00]),
            ],
        ),
        file(
            "unsupported-item",
            "A negative number, a tag, a float, a simple value or an indefinite length.",
            vec![
                case("a negative kind", negative),
                case("an indefinite array", vec![0x9f]),
            ],
        ),
        file(
            "item-count",
            "An array has the wrong number of items.",
            vec![
                case("a project without its holder", vec![0x83, 0x01]),
                case("an address with something more", vec![0x83, 0x02]),
                case("a record of one item", notice(&[0x81, 0x40])),
            ],
        ),
        file(
            "unknown-kind",
            "A kind that this version does not know.",
            vec![
                case("kind 0", vec![0x81, 0x00]),
                case("kind 3", vec![0x82, 0x03, 0x40]),
            ],
        ),
    ]
}

fn fields() -> Vec<File> {
    let digest_short = [vec![0x84, 0x01], bytes(&[0x11; 32]), bytes(&[0x22; 31])].concat();
    let holder = |key: &[u8; 32]| {
        let parts = [bytes(&[0x11; 32]), bytes(&[0x22; 32]), bytes(key)];
        [vec![0x84, 0x01], parts.concat()].concat()
    };
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut not_canonical = [0xff; 32];
    not_canonical[0] = 0xf0;
    not_canonical[31] = 0x7f;
    let mut no_point = [0; 32];
    no_point[0] = 2;
    vec![
        file(
            "wrong-length",
            "A field of fixed length has another.",
            vec![
                case("a digest of 31 bytes", digest_short),
                case(
                    "a key of 31 bytes",
                    notice(&record(&map(&[(0, bytes(&[1; 31]))]))),
                ),
            ],
        ),
        file(
            "key-not-a-point",
            "A key that is no point of the curve.",
            vec![case("the holder", holder(&no_point))],
        ),
        file(
            "key-weak",
            "A key under which anybody could sign.",
            vec![case("the holder", holder(&identity))],
        ),
        file(
            "key-not-canonical",
            "A key that is not in its one form.",
            vec![case("the holder, by p + 3", holder(&not_canonical))],
        ),
    ]
}

fn records() -> Vec<File> {
    let key = bytes(&public(1));
    let without_name = map(&[
        (0, key.clone()),
        (2, vec![0x80]),
        (3, vec![7]),
        (4, uint(EXPIRES)),
    ]);
    let mut more = pairs("mars", &[]);
    more.push((5, vec![0]));
    let mut swapped = pairs("mars", &[]);
    swapped.swap(3, 4);
    let mut bad_text = pairs("", &[]);
    for (field, value) in &mut bad_text {
        if *field == 1 {
            *value = vec![0x61, 0xff];
        }
    }
    let mut other = record(&ordinary());
    if let Some(last) = other.last_mut() {
        *last ^= 1;
    }
    let elsewhere = {
        let body = ordinary();
        let other_type = "application/vnd.gitback.address.v1+cbor";
        sealed(
            &body,
            secret(1).sign(&signing_bytes(other_type, &body)).as_bytes(),
        )
    };
    let foreign = {
        let body = ordinary();
        sealed(
            &body,
            secret(2).sign(&signing_bytes(TYPE, &body)).as_bytes(),
        )
    };
    let long = format!("{}:65535", "h".repeat(250));
    let full = "h".repeat(253) + ":1";
    let bad = |note, address: &str| case(note, notice(&record(&body("mars", &[address]))));
    vec![
        file(
            "missing-field",
            "A field is missing.",
            vec![case("no name", notice(&record(&without_name)))],
        ),
        file(
            "unknown-field",
            "A field that records do not have.",
            vec![case("field 5", notice(&record(&map(&more))))],
        ),
        file(
            "key-order",
            "The fields are not strictly ascending.",
            vec![case(
                "the last two swapped",
                notice(&record(&map(&swapped))),
            )],
        ),
        file(
            "not-utf8",
            "A text is not UTF-8.",
            vec![case("the name", notice(&record(&map(&bad_text))))],
        ),
        file(
            "bad-name",
            "A name is too long or has control characters.",
            vec![
                case("65 bytes", notice(&record(&body(&"n".repeat(65), &[])))),
                case("a bell", notice(&record(&body("mars\u{7}", &[])))),
            ],
        ),
        file(
            "too-many-addresses",
            "More addresses than a record may have.",
            vec![case("nine", notice(&record(&body("mars", &["a:1"; 9]))))],
        ),
        file(
            "bad-address",
            "An address is not host:port.",
            vec![
                bad("no port", "mars"),
                bad("no host", ":9418"),
                bad("port 0", "mars:0"),
                bad("a port with a leading zero", "mars:0443"),
                bad("port 65536", "mars:65536"),
                bad("IPv6 without brackets", "fe80::1:9418"),
                bad("a bracket that is not closed", "[fe80::1:9418"),
                bad("a path", "mars/x:9418"),
                bad("a space", "mars x:9418"),
                bad("256 bytes", &long),
            ],
        ),
        file(
            "record-too-large",
            "A record that leaves no room for the notice around it.",
            vec![case("1017 bytes", {
                let mut record = record(&body("", &[full.as_str(); 3]));
                record.resize(1017, 0);
                notice(&record)
            })],
        ),
        file(
            "bad-signature",
            "The signature is not that of the envoy over these bytes.",
            vec![
                case("one bit differs", notice(&other)),
                case("63 bytes", notice(&sealed(&ordinary(), &[0; 63]))),
                case("of somebody else", notice(&foreign)),
                case("over another type", notice(&elsewhere)),
            ],
        ),
    ]
}

fn file(expect: &'static str, about: &'static str, cases: Vec<Case>) -> File {
    File {
        what: "notice",
        expect,
        about,
        cases,
    }
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

fn project(more: &[u8]) -> Vec<u8> {
    let fields = [bytes(&[0x11; 32]), bytes(&[0x22; 32]), bytes(&public(2))];
    [&[0x84, 0x01], fields.concat().as_slice(), more].concat()
}

fn notice(record: &[u8]) -> Vec<u8> {
    [vec![0x82, 0x02], bytes(record)].concat()
}

fn record(body: &[u8]) -> Vec<u8> {
    let signature = secret(1).sign(&signing_bytes(TYPE, body));
    sealed(body, signature.as_bytes())
}

fn sealed(body: &[u8], signature: &[u8]) -> Vec<u8> {
    [vec![0x82], bytes(body), bytes(signature)].concat()
}

pub(super) fn record_of(name: &str) -> Vec<u8> {
    record(&body(name, &["10.0.0.7:9418"]))
}

pub(super) fn record_at(addresses: &[&str]) -> Vec<u8> {
    record(&body("mars", addresses))
}

fn ordinary() -> Vec<u8> {
    body("mars", &["10.0.0.7:9418"])
}

fn body(name: &str, addresses: &[&str]) -> Vec<u8> {
    map(&pairs(name, addresses))
}

fn pairs(name: &str, addresses: &[&str]) -> Vec<(u8, Vec<u8>)> {
    let list: Vec<Vec<u8>> = addresses.iter().map(|address| text(address)).collect();
    let list = [head(4, list.len()), list.concat()].concat();
    vec![
        (0, bytes(&public(1))),
        (1, text(name)),
        (2, list),
        (3, vec![7]),
        (4, uint(EXPIRES)),
    ]
}

fn map(pairs: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut written = head(5, pairs.len());
    for (key, value) in pairs {
        written.push(*key);
        written.extend_from_slice(value);
    }
    written
}

pub(super) fn bytes(bytes: &[u8]) -> Vec<u8> {
    [head(2, bytes.len()), bytes.to_vec()].concat()
}

fn text(text: &str) -> Vec<u8> {
    [head(3, text.len()), text.as_bytes().to_vec()].concat()
}

fn uint(number: u64) -> Vec<u8> {
    assert!(number > u64::from(u32::MAX), "only large numbers");
    [vec![0x1b], number.to_be_bytes().to_vec()].concat()
}

fn head(major: u8, length: usize) -> Vec<u8> {
    let major = major << 5;
    let wide = u16::try_from(length).expect("short").to_be_bytes();
    match length {
        0..24 => vec![major | wide[1]],
        24..0x100 => vec![major | 24, wide[1]],
        _ => vec![major | 25, wide[0], wide[1]],
    }
}
