//! What another machine may try: each is refused with a reason, and nothing changes.

use std::path::PathBuf;

use gitback_envelope::{
    Act, Change, Envelope, Incarnation, Oid, RefName, Statement, Update, Verified,
};
use gitback_identity::{EnvoyKey, ProjectId, PublicKey, PuddleKey, SecretKey};
use gitback_peer::{
    CallError, Client, Digests, PeerAddress, PushAnswer, Refusal, RefusalKind, SyncRequest,
};
use gitback_tests::{ExtraPeer, Fleet};

use crate::world::{local, notes, options, push_all, snapshot, status};

/// Mars with a project, and pluto: a peer of the fleet whose key is in our hands.
struct Stage {
    fleet: Fleet,
    work: PathBuf,
    runtime: tokio::runtime::Runtime,
    pluto: SecretKey,
    mars: PeerAddress,
    project: ProjectId,
}

impl Stage {
    fn set() -> Self {
        let pluto = SecretKey::from_seed(&[9; 32]);
        let peer = ExtraPeer {
            name: "pluto".to_owned(),
            key: pluto.public().to_string(),
            // Nobody listens on this port.
            address: "127.0.0.1:9".to_owned(),
        };
        let mut fleet = Fleet::start(options(1).extra_peer(peer)).expect("mars starts");
        fleet.make_puddle("dan").expect("dan's puddle");
        let work = notes(&fleet);
        push_all(fleet.person(0), &work);
        let project = status(fleet.person(0))["project_id"]
            .as_str()
            .expect("an id")
            .parse()
            .expect("hex");
        let key: EnvoyKey = fleet.envoy(0).key().parse().expect("a key");
        let mars = PeerAddress {
            key,
            address: fleet.envoy(0).address(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        Self {
            fleet,
            work,
            runtime,
            pluto,
            mars,
            project,
        }
    }

    fn client(&self, key: &SecretKey) -> Client {
        // The client may need the runtime around it already when it is made.
        let _inside = self.runtime.enter();
        Client::new(key).expect("a client")
    }

    /// All envelopes of the project, as a peer gets them.
    fn envelopes(&self) -> Vec<Verified> {
        let request = SyncRequest {
            token: Vec::new(),
            tips: Vec::new(),
            skip: 0,
        };
        let asked = self.client(&self.pluto);
        let answer = self
            .runtime
            .block_on(asked.sync(&self.mars, &self.project, &request))
            .expect("mars answers a peer");
        let verified = |bytes: &Vec<u8>| {
            Envelope::decode(bytes)
                .and_then(Envelope::verify)
                .expect("genuine")
        };
        answer.envelopes.iter().map(verified).collect()
    }

    /// Sends envelopes as `key` and expects a refusal.
    #[track_caller]
    fn refused(&self, key: &SecretKey, envelopes: Vec<Vec<u8>>) -> Refusal {
        let client = self.client(key);
        let before = snapshot(self.fleet.person(0));
        let answer: Result<PushAnswer, CallError> =
            self.runtime
                .block_on(client.push(&self.mars, &self.project, envelopes, None));
        assert_eq!(
            snapshot(self.fleet.person(0)),
            before,
            "a refusal changes nothing"
        );
        match answer {
            Err(CallError::Refused(refusal)) => refusal,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    /// An update that moves `main` back by one commit, to be signed by somebody.
    fn rewind(&self, signer: PublicKey, puddle: PuddleKey, envoy: EnvoyKey) -> Statement {
        let back = crate::world::done(
            self.fleet
                .person(0)
                .git(&self.work, ["rev-parse", "main~1"]),
        );
        let newest = self.envelopes().pop().expect("envelopes");
        let change = Change {
            name: RefName::new(b"refs/heads/main").expect("a name"),
            new: back.stdout.trim().parse::<Oid>().expect("an object id"),
            contained: Vec::new(),
            forced: vec![*newest.id()],
        };
        Statement {
            project: self.project,
            signer,
            puddle,
            envoy: Some(envoy),
            incarnation: Incarnation::from_bytes(&[5; 16]),
            seq: 0,
            prev: None,
            deps: vec![*newest.id()],
            time_ms: Some(1_600_000_000_000),
            act: Act::Update(Update {
                changes: vec![change],
                head: None,
                pack: None,
            }),
        }
    }

    fn founder(&self) -> PuddleKey {
        self.envelopes()
            .first()
            .expect("an init")
            .statement()
            .puddle
    }
}

#[test]
fn a_stranger_is_refused_whatever_it_asks() {
    let stage = Stage::set();
    let stranger = SecretKey::from_seed(&[8; 32]);
    let client = stage.client(&stranger);
    let ours = Digests {
        name: "mallory".to_owned(),
        ..Digests::default()
    };
    let digests = stage
        .runtime
        .block_on(client.digests(&stage.mars, &ours))
        .map(|_| ());
    let request = SyncRequest {
        token: Vec::new(),
        tips: Vec::new(),
        skip: 0,
    };
    let sync = stage
        .runtime
        .block_on(client.sync(&stage.mars, &stage.project, &request))
        .map(|_| ());
    let fetch = client.upload_pack(
        &stage.mars,
        &stage.project,
        b"0000".to_vec(),
        std::io::sink(),
    );
    let fetch = stage.runtime.block_on(fetch).map(|_| ());
    for answer in [digests, sync, fetch] {
        match answer {
            Err(CallError::Refused(refusal)) => {
                assert_eq!(refusal.status, RefusalKind::Forbidden, "{refusal:?}")
            }
            other => panic!("expected a refusal, got {other:?}"),
        }
    }
    let genuine = stage
        .envelopes()
        .iter()
        .map(|envelope| envelope.bytes().to_vec())
        .collect();
    assert_eq!(
        stage.refused(&stranger, genuine).status,
        RefusalKind::Forbidden
    );
}

#[test]
fn an_update_by_an_envoy_without_a_grant_is_refused() {
    let stage = Stage::set();
    let pluto = EnvoyKey::new(stage.pluto.public());
    let update = stage.rewind(stage.pluto.public(), stage.founder(), pluto);
    let signature = stage.pluto.sign(&update.signing_bytes().expect("encodes"));
    let sealed = update.seal(signature).expect("its own signature is fine");
    let refusal = stage.refused(&stage.pluto, vec![sealed.bytes().to_vec()]);
    assert_eq!(refusal.code, "not-granted", "{refusal:?}");
}

#[test]
fn an_update_that_names_another_signer_is_refused() {
    let stage = Stage::set();
    let founder = stage.founder();
    let update = stage.rewind(*founder.key(), founder, stage.mars.key);
    // Sealed by pluto, with bytes that say that the founder signed.
    let type_name = update.type_name();
    let body = update.encode_body().expect("encodes");
    let signature = stage.pluto.sign(&update.signing_bytes().expect("encodes"));
    let forged = wire(&type_name, &body, signature.as_bytes());
    assert!(
        Envelope::decode(&forged)
            .expect("well formed")
            .verify()
            .is_err(),
        "the forgery is one"
    );
    stage.refused(&stage.pluto, vec![forged]);
}

#[test]
fn a_genuine_update_with_one_bit_changed_is_refused() {
    let stage = Stage::set();
    let newest = stage.envelopes().pop().expect("an update").bytes().to_vec();
    let tip = local(stage.fleet.person(0), &stage.work)["refs/heads/main"]
        .parse::<Oid>()
        .expect("an object id");
    let at = newest
        .windows(20)
        .position(|part| part == tip.as_bytes())
        .expect("the update names the commit");
    let mut forged = newest;
    forged[at] ^= 1;
    stage.refused(&stage.pluto, vec![forged]);
}

/// The wire form of an envelope: a CBOR array of a text and two byte strings.
fn wire(type_name: &str, body: &[u8], signature: &[u8; 64]) -> Vec<u8> {
    let head = |major: u8, length: usize| -> Vec<u8> {
        let major = major << 5;
        match length {
            0..=23 => vec![major | u8::try_from(length).expect("small")],
            24..=255 => vec![major | 24, u8::try_from(length).expect("a byte")],
            _ => {
                let [high, low] = u16::try_from(length).expect("a short body").to_be_bytes();
                vec![major | 25, high, low]
            }
        }
    };
    let mut out = head(4, 3);
    out.extend(head(3, type_name.len()));
    out.extend(type_name.as_bytes());
    out.extend(head(2, body.len()));
    out.extend(body);
    out.extend(head(2, signature.len()));
    out.extend(signature);
    out
}
