//! Where the files in `tests/vectors/token` come from.

use std::fmt::Write as _;

use gitback_envelope::{
    Act, Delegate, EnvelopeId, Grant, Incarnation, Invite, Role, Statement, Token, Verified,
};
use gitback_identity::{EnvoyKey, Handle, ProjectId, PuddleKey, SecretKey, Signature, hex};

pub(crate) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/token");

const UID: u32 = 1000;

/// One file: one reason, or what is accepted.
pub(crate) struct File {
    expect: &'static str,
    about: &'static str,
    cases: Vec<Case>,
}

struct Case {
    note: &'static str,
    project: ProjectId,
    token: Vec<u8>,
    proves: Option<(&'static str, PuddleKey, Option<u64>)>,
}

impl File {
    pub(crate) const fn expect(&self) -> &'static str {
        self.expect
    }

    pub(crate) fn name(&self) -> String {
        format!("{}.toml", self.expect)
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("# {}\n\nexpect = \"{}\"\n", self.about, self.expect);
        for case in &self.cases {
            let token = hex::encode(&case.token);
            write!(
                text,
                "\n[[case]]\nnote = \"{}\"\nproject = \"{}\"\ntoken = \"{token}\"\n",
                case.note, case.project
            )
            .expect("text takes everything");
            if let Some((access, puddle, expires)) = &case.proves {
                let envoy = envoy();
                write!(
                    text,
                    "access = \"{access}\"\npuddle = \"{puddle}\"\nenvoy = \"{envoy}\"\nuid = {UID}\n"
                )
                .expect("text takes everything");
                if let Some(expires) = expires {
                    writeln!(text, "expires_ms = {expires}").expect("text takes everything");
                }
            }
        }
        text
    }
}

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn puddle(seed: u8) -> PuddleKey {
    PuddleKey::new(secret(seed).public())
}

fn envoy() -> EnvoyKey {
    EnvoyKey::new(secret(90).public())
}

const GENESIS: u8 = 1;
const HEIR: u8 = 2;
const MEMBER: u8 = 3;
const READER: u8 = 4;
const STRANGER: u8 = 5;

/// A project whose founder line has passed on once, with a member and a reader.
pub(crate) struct World {
    handle: Handle,
    init: Verified,
    by_genesis: Verified,
    delegate: Verified,
    by_heir: Verified,
    member: [Verified; 3],
    reader: [Verified; 3],
}

impl World {
    pub(crate) fn new() -> Self {
        let handle: Handle = "notes".parse().expect("a handle");
        let init = Statement::init(&puddle(GENESIS), &handle);
        let signature = secret(GENESIS).sign(&init.signing_bytes().expect("within the rules"));
        let init = init.seal(signature).expect("the founder's own");
        let id = init.statement().project;
        let by_genesis = say(id, GENESIS, 0, &[init.id()], granted());
        let delegate = delegate(id, &init, &by_genesis);
        let by_heir = say(id, HEIR, 0, &[delegate.id()], granted());
        let member = joined(id, MEMBER, Role::Member, &delegate, 1);
        let reader = joined(id, READER, Role::Reader, &delegate, 2);
        Self {
            handle,
            init,
            by_genesis,
            delegate,
            by_heir,
            member,
            reader,
        }
    }

    pub(crate) fn id(&self) -> ProjectId {
        self.init.statement().project
    }

    /// Everything, each after its past.
    pub(crate) fn all(&self) -> Vec<Verified> {
        let mut all = vec![
            self.init.clone(),
            self.by_genesis.clone(),
            self.delegate.clone(),
            self.by_heir.clone(),
        ];
        all.extend(self.member.iter().chain(&self.reader).cloned());
        all
    }

    fn token(&self, parts: &[&Verified]) -> Token {
        let _ = self;
        Token::new(parts.iter().map(|part| (*part).clone()).collect())
    }

    pub(crate) fn member(&self) -> Token {
        let [invite, join, grant] = &self.member;
        self.token(&[&self.init, &self.delegate, invite, join, grant])
    }
}

fn granted() -> Act {
    Act::Grant(Grant {
        envoy: envoy(),
        uid: UID,
        expires_ms: Some(1_900_000_000_000),
    })
}

/// A statement at the beginning of a chain of its own.
fn say(project: ProjectId, by: u8, life: u8, deps: &[&EnvelopeId], act: Act) -> Verified {
    let mut deps: Vec<EnvelopeId> = deps.iter().map(|id| **id).collect();
    deps.sort();
    let statement = Statement {
        project,
        signer: secret(by).public(),
        puddle: puddle(by),
        envoy: Some(envoy()),
        incarnation: Incarnation::from_bytes(&[0x10 + life; 16]),
        seq: 0,
        prev: None,
        deps,
        time_ms: None,
        act,
    };
    seal(by, statement)
}

fn seal(by: u8, statement: Statement) -> Verified {
    let signature = secret(by).sign(&statement.signing_bytes().expect("within the rules"));
    statement.seal(signature).expect("the signer's own")
}

fn delegate(project: ProjectId, init: &Verified, seen: &Verified) -> Verified {
    let mut statement = say_draft(project, GENESIS, 7, seen.id());
    statement.act = Act::Delegate(Delegate {
        hop: 1,
        to: puddle(HEIR),
        next: None,
        cut: vec![*seen.id()],
        accept: Signature::from_bytes(&[0; 64]),
    });
    let _ = init;
    let bytes = statement.acceptance_bytes().expect("within the rules");
    let accept = secret(HEIR).sign(&bytes.expect("a delegation"));
    if let Act::Delegate(delegate) = &mut statement.act {
        delegate.accept = accept;
    }
    seal(GENESIS, statement)
}

fn say_draft(project: ProjectId, by: u8, life: u8, dep: &EnvelopeId) -> Statement {
    Statement {
        project,
        signer: secret(by).public(),
        puddle: puddle(by),
        envoy: Some(envoy()),
        incarnation: Incarnation::from_bytes(&[0x10 + life; 16]),
        seq: 0,
        prev: None,
        deps: vec![*dep],
        time_ms: None,
        act: Act::Merge,
    }
}

fn joined(project: ProjectId, who: u8, role: Role, after: &Verified, life: u8) -> [Verified; 3] {
    let act = Act::Invite(Invite {
        puddle: puddle(who),
        role,
    });
    let invite = say(project, HEIR, life, &[after.id()], act);
    let act = Act::Join {
        invite: *invite.id(),
    };
    let join = say(project, who, 0, &[invite.id()], act);
    let grant = say(project, who, 1, &[join.id()], granted());
    [invite, join, grant]
}

pub(crate) fn files() -> Vec<File> {
    let world = World::new();
    let mut files = vec![accepted(&world), too_long(&world), truncated(&world)];
    files.extend([
        bad_signature(&world),
        bad_heir(&world),
        wrong_project(&world),
    ]);
    files.extend([no_init(&world), broken_line(&world)]);
    files.extend([broken_membership(&world), no_grant(&world)]);
    files
}

fn refused(
    world: &World,
    expect: &'static str,
    about: &'static str,
    cases: Vec<(&'static str, Vec<u8>)>,
) -> File {
    let cases = cases.into_iter().map(|(note, token)| Case {
        note,
        project: world.id(),
        token,
        proves: None,
    });
    File {
        expect,
        about,
        cases: cases.collect(),
    }
}

fn accepted(world: &World) -> File {
    let [invite, join, grant] = &world.reader;
    let expires = Some(1_900_000_000_000);
    let mut cases = Vec::new();
    let mut add = |note, token: Token, access, who| {
        cases.push(Case {
            note,
            project: world.id(),
            token: token.encode(),
            proves: Some((access, puddle(who), expires)),
        });
    };
    add(
        "the genesis key, before the line passed on",
        world.token(&[&world.init, &world.by_genesis]),
        "founder",
        GENESIS,
    );
    add(
        "the heir",
        world.token(&[&world.init, &world.delegate, &world.by_heir]),
        "founder",
        HEIR,
    );
    add("a member", world.member(), "member", MEMBER);
    add(
        "a reader",
        world.token(&[&world.init, &world.delegate, invite, join, grant]),
        "reader",
        READER,
    );
    File {
        expect: "accepted",
        about: "Tokens that prove something, and what.",
        cases,
    }
}

fn too_long(world: &World) -> File {
    let many = vec![&world.by_genesis; 10];
    refused(
        world,
        "token-too-long",
        "More envelopes than any token needs.",
        vec![("ten envelopes", world.token(&many).encode())],
    )
}

fn truncated(world: &World) -> File {
    let mut token = world.member().encode();
    token.truncate(token.len() - 1);
    refused(
        world,
        "truncated",
        "The bytes end too early.",
        vec![("the last byte is missing", token)],
    )
}

fn bad_signature(world: &World) -> File {
    let mut token = world.member().encode();
    if let Some(last) = token.last_mut() {
        *last ^= 1;
    }
    refused(
        world,
        "bad-signature",
        "An envelope of the token is not signed by its signer.",
        vec![("the grant", token)],
    )
}

fn bad_heir(world: &World) -> File {
    let mut statement = world.delegate.statement().clone();
    if let Act::Delegate(delegate) = &mut statement.act {
        delegate.accept = Signature::from_bytes(&[0; 64]);
    }
    let body = statement.encode_body().expect("within the rules");
    let signature = secret(GENESIS).sign(&statement.signing_bytes().expect("within the rules"));
    let envelope = raw_envelope(&statement.type_name(), &body, signature.as_bytes());
    let init = world.init.bytes();
    let grant = world.by_heir.bytes();
    refused(
        world,
        "bad-heir-signature",
        "The heir has not signed the delegation.",
        vec![(
            "a delegation that nobody accepts",
            list(&[init, &envelope, grant]),
        )],
    )
}

fn wrong_project(world: &World) -> File {
    let other = ProjectId::derive(&puddle(STRANGER), &world.handle);
    let foreign = say(other, GENESIS, 3, &[world.init.id()], granted());
    let token = world.token(&[&world.init, &foreign]);
    refused(
        world,
        "wrong-project",
        "An envelope of the token is about another project.",
        vec![("the grant", token.encode())],
    )
}

fn no_init(world: &World) -> File {
    refused(
        world,
        "token-no-init",
        "The token does not begin with init.",
        vec![
            ("nothing at all", world.token(&[]).encode()),
            ("a grant alone", world.token(&[&world.by_genesis]).encode()),
        ],
    )
}

fn broken_line(world: &World) -> File {
    let again = [
        &world.init,
        &world.delegate,
        &world.delegate,
        &world.by_heir,
    ];
    refused(
        world,
        "token-broken-line",
        "The delegations do not lead from key to key.",
        vec![("the same hop twice", world.token(&again).encode())],
    )
}

fn broken_membership(world: &World) -> File {
    let id = world.id();
    let [invite, join, grant] = &world.member;
    let [other, ..] = &world.reader;
    let by_stranger = Act::Invite(Invite {
        puddle: puddle(MEMBER),
        role: Role::Member,
    });
    let by_stranger = say(id, STRANGER, 4, &[world.init.id()], by_stranger);
    let act = Act::Join {
        invite: *by_stranger.id(),
    };
    let to_stranger = say(id, MEMBER, 5, &[by_stranger.id()], act);
    let stolen = Act::Join {
        invite: *invite.id(),
    };
    let stolen = say(id, STRANGER, 6, &[invite.id()], stolen);
    let strangers_grant = say(id, STRANGER, 7, &[stolen.id()], granted());
    let with = |parts: [&Verified; 3]| {
        let [invite, join, grant] = parts;
        let token = world.token(&[&world.init, &world.delegate, invite, join, grant]);
        token.encode()
    };
    refused(
        world,
        "token-broken-membership",
        "The membership is not one that the founder line gave.",
        vec![
            (
                "the join is for another invitation",
                with([other, join, grant]),
            ),
            (
                "invited by a stranger",
                with([&by_stranger, &to_stranger, grant]),
            ),
            (
                "joined by a stranger",
                with([invite, &stolen, &strangers_grant]),
            ),
            (
                "no join",
                world
                    .token(&[&world.init, &world.delegate, invite])
                    .encode(),
            ),
        ],
    )
}

fn no_grant(world: &World) -> File {
    let [invite, join, _] = &world.member;
    let [.., readers] = &world.reader;
    let line = [&world.init, &world.delegate];
    let with = |rest: &[&Verified]| {
        let parts: Vec<&Verified> = line.iter().chain(rest).copied().collect();
        world.token(&parts).encode()
    };
    refused(
        world,
        "token-no-grant",
        "The token does not end with a grant by its puddle.",
        vec![
            ("it ends with the join", with(&[invite, join])),
            (
                "the grant is somebody else's",
                with(&[invite, join, readers]),
            ),
            (
                "the grant is the retired founder's",
                with(&[&world.by_genesis]),
            ),
            (
                "something follows the grant",
                with(&[&world.by_heir, &world.by_heir]),
            ),
        ],
    )
}

/// A CBOR array of byte strings.
fn list(envelopes: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![0x80 | u8::try_from(envelopes.len()).expect("few")];
    for envelope in envelopes {
        let length = u16::try_from(envelope.len()).expect("short");
        bytes.push(0x59);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(envelope);
    }
    bytes
}

/// The wire form of an envelope, whatever it says.
fn raw_envelope(type_name: &str, body: &[u8], signature: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("short");
    let mut bytes = vec![0x83, 0x78, u8::try_from(type_name.len()).expect("short")];
    bytes.extend_from_slice(type_name.as_bytes());
    bytes.push(0x59);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&[0x58, 64]);
    bytes.extend_from_slice(signature);
    bytes
}
