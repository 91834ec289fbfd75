//! One envelope, as a peer or a file hands it in.
//!
//! What is well formed is also signed anew where its signer is a key of the vectors, since no fuzzer finds a signature.

#![no_main]

use gitback_envelope::{Act, Envelope, Reject, Statement, Verified};
use gitback_fuzz::{check_statement, secret_of, wire};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(envelope) = Envelope::decode(bytes) else {
        return;
    };
    let statement = envelope.unverified_statement().clone();
    if let Ok(body) = statement.encode_body() {
        check_statement(&statement, &body);
        let signature = &bytes[bytes.len() - 64..];
        assert_eq!(wire(&statement.type_name(), &body, signature), bytes);
    }
    if let Some(sealed) = sign_anew(&statement) {
        let copy = Envelope::decode(sealed.bytes()).and_then(Envelope::verify);
        assert_eq!(copy.expect("what was sealed is accepted").id(), sealed.id());
    }
    match envelope.verify() {
        Ok(verified) => {
            assert_eq!(verified.bytes(), bytes);
            assert_eq!(verified.statement(), &statement);
        }
        Err(Reject::Signature | Reject::HeirSignature) => {}
        Err(other) => panic!("decoding should have given {other:?}"),
    }
});

fn sign_anew(statement: &Statement) -> Option<Verified> {
    let signer = secret_of(&statement.signer)?;
    let mut statement = statement.clone();
    if let Some(accepts) = statement.acceptance_bytes().ok()? {
        let Act::Delegate(delegate) = &mut statement.act else {
            panic!("only a delegate has an heir");
        };
        delegate.accept = secret_of(delegate.to.key())?.sign(&accepts);
    }
    let signature = signer.sign(&statement.signing_bytes().ok()?);
    Some(
        statement
            .seal(signature)
            .expect("both signatures are right"),
    )
}
