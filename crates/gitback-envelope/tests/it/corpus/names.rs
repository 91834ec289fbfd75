//! Keys, handles and ref names that are refused.

use super::raw::{Draft, array, bytes, change, id, text};
use super::{File, file};

pub(super) fn files() -> Vec<File> {
    let grant = Draft::grant;
    let named = |name: &[u8]| {
        Draft::update()
            .with(16, array(&[change(name, 1, &[], &[])]))
            .seal()
    };
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut not_canonical = [0xff; 32];
    not_canonical[0] = 0xf0;
    not_canonical[31] = 0x7f;
    let mut not_a_point = [0; 32];
    not_a_point[0] = 2;
    let long = [b"refs/heads/".as_slice(), &[b'a'; 1014]].concat();
    let long_part = [b"refs/heads/".as_slice(), &[b'a'; 241]].concat();
    vec![
        file(
            "key-weak",
            "A key of small order, under which one signature verifies for many messages.",
            vec![
                ("signer", grant().with(1, bytes(&identity)).seal()),
                ("puddle", grant().with(2, bytes(&identity)).seal()),
                ("envoy", grant().with(3, bytes(&identity)).seal()),
                ("granted envoy", grant().with(16, bytes(&identity)).seal()),
                ("zero as signer", grant().with(1, id(0)).seal()),
            ],
        ),
        file(
            "key-not-canonical",
            "A key that is not the canonical encoding of its point.",
            vec![("signer", grant().with(1, bytes(&not_canonical)).seal())],
        ),
        file(
            "key-not-a-point",
            "Bytes that are no point.",
            vec![("signer", grant().with(1, bytes(&not_a_point)).seal())],
        ),
        file(
            "handle-ending",
            "A malformed handle; one case for each reason is in ../identity.",
            vec![(
                "notes.git",
                Draft::init().with(16, text(b"notes.git")).seal(),
            )],
        ),
        file(
            "ref-too-long",
            "More than 1,024 bytes.",
            vec![("1,025", named(&long))],
        ),
        file(
            "ref-not-under-refs",
            "Anything that does not begin with refs/.",
            vec![
                ("empty", named(b"")),
                ("HEAD", named(b"HEAD")),
                ("refs", named(b"refs")),
                ("heads/main", named(b"heads/main")),
            ],
        ),
        file(
            "ref-reserved",
            "Names that gitback keeps for itself.",
            vec![
                ("refs/envoys", named(b"refs/envoys")),
                ("refs/envoys/a", named(b"refs/envoys/a")),
                ("refs/gitback/a", named(b"refs/gitback/a")),
            ],
        ),
        file(
            "ref-character",
            "A byte that git does not allow.",
            vec![
                ("a space", named(b"refs/heads/a b")),
                ("a newline", named(b"refs/heads/a\n")),
                ("an escape", named(b"refs/heads/\x1b[2J")),
                ("a zero byte", named(b"refs/heads/a\0")),
                ("a delete", named(b"refs/heads/a\x7f")),
                ("a colon", named(b"refs/heads/a:b")),
                ("a star", named(b"refs/heads/*")),
                ("a backslash", named(b"refs/heads/a\\b")),
            ],
        ),
        file(
            "ref-sequence",
            "Two dots in a row, @{, or a dot at the end.",
            vec![
                ("climbs", named(b"refs/heads/../../config")),
                ("a..b", named(b"refs/heads/a..b")),
                ("a@{1}", named(b"refs/heads/a@{1}")),
                ("a.", named(b"refs/heads/a.")),
            ],
        ),
        file(
            "ref-component",
            "A part between slashes is empty, begins with a dot or ends in .lock.",
            vec![
                ("refs/", named(b"refs/")),
                ("refs//a", named(b"refs//a")),
                ("refs/heads/", named(b"refs/heads/")),
                ("refs/heads/.a", named(b"refs/heads/.a")),
                ("refs/a.lock/b", named(b"refs/a.lock/b")),
            ],
        ),
        file(
            "ref-component-too-long",
            "A part between slashes has more than 240 bytes.",
            vec![("241", named(&long_part))],
        ),
    ]
}
