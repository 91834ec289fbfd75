//! Envelopes that do not fit to what is already there.

use super::raw::{Draft, FOUNDER, bytes, id, uint};
use super::{Case, File};

pub(super) fn files() -> Vec<File> {
    let grant = Draft::grant();
    let before = vec![Draft::init().seal(), grant.seal()];
    let after = |note, envelope: Draft| Case {
        before: before.clone(),
        ..Case::new(note, envelope.seal())
    };
    let follows = || Draft::grant().with(6, bytes(&grant.id()));
    let from_update = Draft::update().with(5, uint(1)).with(6, bytes(&grant.id()));
    let other_life = follows().with(5, uint(1)).with(4, bytes(&[0x12; 16]));
    let after_init = Draft::grant()
        .with(5, uint(1))
        .with(6, bytes(&Draft::init().id()));
    let other_project = Draft::grant().with(0, id(9)).signed_by(FOUNDER);
    vec![
        File {
            expect: "broken-chain",
            about: "prev is there and is not the one before on the same chain. `before` is put in first.",
            cases: vec![
                after("a gap", follows().with(5, uint(2))),
                after("another incarnation", other_life),
                after("another signer", from_update),
                after("init as prev", after_init),
            ],
        },
        File {
            expect: "wrong-project",
            about: "An envelope about another project. `before` is put in first.",
            cases: vec![after("another id", other_project)],
        },
    ]
}
