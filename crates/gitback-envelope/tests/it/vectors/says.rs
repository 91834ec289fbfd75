//! What was decoded, in the words of the vectors.

use gitback_envelope::{
    Act, Change, EnvelopeId, NameClaim, Policy, RefName, Role, Scope, Statement, Update,
};
use gitback_identity::hex;
use toml::{Table, Value};

pub(super) fn statement(statement: &Statement) -> Table {
    let mut says = Table::new();
    put(&mut says, "project", statement.project.to_string());
    put(
        &mut says,
        "signer",
        hex::encode(statement.signer.as_bytes()),
    );
    put(
        &mut says,
        "puddle",
        hex::encode(statement.puddle.as_bytes()),
    );
    let envoy = statement.envoy.map_or([0; 32], |envoy| *envoy.as_bytes());
    put(&mut says, "envoy", hex::encode(&envoy));
    put(&mut says, "incarnation", statement.incarnation.to_string());
    number(&mut says, "seq", statement.seq);
    if let Some(prev) = &statement.prev {
        put(&mut says, "prev", prev.to_string());
    }
    if !statement.deps.is_empty() {
        put(&mut says, "deps", ids(&statement.deps));
    }
    if let Some(time_ms) = statement.time_ms {
        number(&mut says, "time_ms", time_ms);
    }
    act(&mut says, &statement.act);
    says
}

pub(super) fn claim(claim: &NameClaim) -> Table {
    let mut says = Table::new();
    put(&mut says, "puddle", hex::encode(claim.puddle.as_bytes()));
    number(&mut says, "counter", claim.counter);
    if let Some(time_ms) = claim.time_ms {
        number(&mut says, "time_ms", time_ms);
    }
    if let Some(name) = &claim.name {
        put(&mut says, "name", name.to_string());
    }
    says
}

fn act(says: &mut Table, act: &Act) {
    match act {
        Act::Init { handle } => put(says, "handle", handle.to_string()),
        Act::Policy(act) => policy(says, act),
        Act::Merge | Act::Unknown { .. } => {}
        Act::Invite(act) => {
            put(says, "invited", hex::encode(act.puddle.as_bytes()));
            let role = match act.role {
                Role::Member => "member",
                Role::Reader => "reader",
            };
            put(says, "role", role);
        }
        Act::Join { invite } | Act::Leave { invite } | Act::Rejoin { invite } => {
            put(says, "invite", invite.to_string());
        }
        Act::Revoke(act) => {
            put(says, "invite", act.invite.to_string());
            put(says, "cut", ids(&act.cut));
        }
        Act::Grant(act) => {
            put(says, "granted_envoy", hex::encode(act.envoy.as_bytes()));
            number(says, "uid", act.uid.into());
            if let Some(expires_ms) = act.expires_ms {
                number(says, "expires_ms", expires_ms);
            }
        }
        Act::Ungrant(act) => {
            put(says, "granted_envoy", hex::encode(act.envoy.as_bytes()));
            put(says, "cut", ids(&act.cut));
        }
        Act::Delegate(act) => {
            number(says, "hop", act.hop);
            put(says, "heir", hex::encode(act.to.as_bytes()));
            if let Some(next) = &act.next {
                put(says, "next", hex::encode(next));
            }
            put(says, "cut", ids(&act.cut));
            put(says, "accept", hex::encode(act.accept.as_bytes()));
        }
        Act::Tombstone(act) => {
            put(
                says,
                "successor_founder",
                hex::encode(act.founder.as_bytes()),
            );
            put(says, "successor_handle", act.handle.to_string());
            put(says, "cut", ids(&act.cut));
            put(says, "successor", act.successor().to_string());
        }
        Act::Update(act) => update(says, act),
    }
}

fn policy(says: &mut Table, policy: &Policy) {
    let scope = match policy.scope {
        Scope::MembersOnly => "members-only",
        Scope::SwarmWide => "swarm-wide",
    };
    put(says, "scope", scope);
    if !policy.protected.is_empty() {
        let names: Vec<_> = policy.protected.iter().map(text).collect();
        put(says, "protected", names);
    }
    if let Some(replicas) = policy.replicas {
        number(says, "replicas", replicas.into());
    }
}

fn update(says: &mut Table, update: &Update) {
    let changes: Vec<_> = update.changes.iter().map(change).collect();
    put(says, "changes", changes);
    if let Some(head) = &update.head {
        put(says, "head", text(head));
    }
    if let Some(pack) = &update.pack {
        let mut hint = Table::new();
        put(&mut hint, "blake3", hex::encode(&pack.blake3));
        number(&mut hint, "bytes", pack.bytes);
        put(says, "pack", hint);
    }
}

fn change(change: &Change) -> Value {
    let mut says = Table::new();
    match str::from_utf8(change.name.as_bytes()) {
        Ok(text) => put(&mut says, "ref", text),
        Err(_) => put(&mut says, "ref_hex", hex::encode(change.name.as_bytes())),
    }
    put(&mut says, "new", change.new.to_string());
    put(&mut says, "contained", ids(&change.contained));
    put(&mut says, "forced", ids(&change.forced));
    says.into()
}

fn text(name: &RefName) -> String {
    String::from_utf8(name.as_bytes().to_vec()).expect("the vectors have no other here")
}

fn ids(ids: &[EnvelopeId]) -> Vec<Value> {
    ids.iter().map(|id| id.to_string().into()).collect()
}

fn put(says: &mut Table, name: &str, value: impl Into<Value>) {
    says.insert(name.to_owned(), value.into());
}

fn number(says: &mut Table, name: &str, number: u64) {
    put(
        says,
        name,
        i64::try_from(number).expect("the vectors have no larger"),
    );
}
