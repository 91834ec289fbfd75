//! Manifests with their signatures.
//!
//! Source: docs/spec/pack.md §11.

use gitback_envelope::signing_bytes;
use gitback_identity::{EnvoyKey, ProjectId, Signature};
use gitback_pack::{BadManifest, MANIFEST_TYPE, Manifest, Offer, SignedManifest};

use crate::clock;
use crate::daemon::Envoy;

/// What this envoy says of the packs that it gives.
pub(crate) fn signed_manifest(
    envoy: &Envoy,
    project: &ProjectId,
    packs: Vec<Offer>,
) -> Result<Vec<u8>, BadManifest> {
    let manifest = Manifest {
        project: *project.as_bytes(),
        envoy: *envoy.public().as_bytes(),
        made_ms: clock::now_ms(),
        packs,
    };
    let body = manifest.body()?;
    let signature = envoy.key().sign(&signing_bytes(MANIFEST_TYPE, &body));
    Ok(manifest.seal(&body, signature.as_bytes()))
}

/// What the envoy `by` gives of a project; or what is wrong with what came, for people.
pub(super) fn opened(
    bytes: &[u8],
    project: &ProjectId,
    by: &EnvoyKey,
) -> Result<Vec<Offer>, String> {
    let signed = SignedManifest::decode(bytes).map_err(|bad| bad.to_string())?;
    let SignedManifest {
        manifest,
        body,
        signature,
    } = signed;
    if manifest.project != *project.as_bytes() {
        return Err("a manifest of another project".to_owned());
    }
    if manifest.envoy != *by.as_bytes() {
        return Err("a manifest of another envoy".to_owned());
    }
    let signature = Signature::from_bytes(&signature);
    let signed = by
        .key()
        .verify(&signing_bytes(MANIFEST_TYPE, &body), &signature);
    signed.map_err(|_| "a manifest with a forged signature".to_owned())?;
    Ok(manifest.packs)
}

#[cfg(test)]
mod tests {
    use gitback_identity::SecretKey;
    use gitback_pack::{BlockTree, Oid};

    use super::*;

    fn key(seed: u8) -> (SecretKey, EnvoyKey) {
        let secret = SecretKey::from_seed(&[seed; 32]);
        let public = EnvoyKey::new(secret.public());
        (secret, public)
    }

    fn project(id: u8) -> ProjectId {
        ProjectId::from_bytes(&[id; 32])
    }

    /// A manifest of project 1 that names an envoy, signed with a key.
    fn made(names: &EnvoyKey, signs: &SecretKey, kind: &str) -> Vec<u8> {
        let tree = BlockTree::read(&[7; 100][..], 100).expect("in memory");
        let manifest = Manifest {
            project: *project(1).as_bytes(),
            envoy: *names.as_bytes(),
            made_ms: 5,
            packs: vec![Offer {
                name: Oid::from_bytes_or_panic(&[3; 20]),
                objects: 1,
                tree,
            }],
        };
        let body = manifest.body().expect("one pack");
        let signature = signs.sign(&signing_bytes(kind, &body));
        manifest.seal(&body, signature.as_bytes())
    }

    #[test]
    fn only_what_its_envoy_has_signed_of_this_project_is_taken() {
        let ((mars, mars_key), (venus, venus_key)) = (key(1), key(2));
        let good = made(&mars_key, &mars, MANIFEST_TYPE);
        let packs = opened(&good, &project(1), &mars_key).expect("its own");
        assert_eq!(packs.len(), 1);
        let says = |bytes: &[u8], id: u8, by: &EnvoyKey| {
            opened(bytes, &project(id), by).expect_err("refused")
        };
        assert_eq!(says(&good, 2, &mars_key), "a manifest of another project");
        // Handed on by another envoy, which must not be blamed for it nor praised.
        assert_eq!(says(&good, 1, &venus_key), "a manifest of another envoy");
        let forged = "a manifest with a forged signature";
        let by_venus = made(&mars_key, &venus, MANIFEST_TYPE);
        assert_eq!(says(&by_venus, 1, &mars_key), forged);
        let other_type = made(&mars_key, &mars, "application/vnd.gitback.packs.v2");
        assert_eq!(says(&other_type, 1, &mars_key), forged);
        assert_eq!(
            says(&good[1..], 1, &mars_key),
            "a manifest that is malformed"
        );
    }
}
