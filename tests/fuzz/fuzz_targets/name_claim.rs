//! A claim to a name: the input as a whole envelope, and as a body alone.

#![no_main]

use gitback_envelope::{NameClaim, VerifiedClaim};
use gitback_fuzz::{check_claim, secret_of};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(verified) = VerifiedClaim::decode(bytes) {
        assert_eq!(verified.bytes(), bytes);
        let signature = bytes
            .last_chunk()
            .expect("an envelope ends with its signature");
        let signature = gitback_identity::Signature::from_bytes(signature);
        let sealed = verified.claim().seal(&signature).expect("it held before");
        assert_eq!(sealed.bytes(), bytes);
    }
    let Ok(claim) = NameClaim::decode_body(bytes) else {
        return;
    };
    check_claim(&claim, bytes);
    if let Some(secret) = secret_of(claim.puddle.key()) {
        let sealed = claim.seal(&secret.sign(&claim.signing_bytes()));
        assert_eq!(sealed.expect("the puddle's own signature").claim(), &claim);
    }
});
