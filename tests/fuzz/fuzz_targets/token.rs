//! A token, as an envoy shows it or as it lies in somebody's home.
//!
//! The first byte says whether the rest is a whole token, or picks the envelopes of a real one in any order, since no
//! fuzzer finds a signature.

#![no_main]

use gitback_envelope::Token;
use gitback_fuzz::{real_tokens, token_project};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    let picked;
    let token = if first % 2 == 0 {
        rest
    } else {
        picked = pick(rest);
        &picked
    };
    let Ok(token) = Token::decode(token) else {
        return;
    };
    let again = Token::decode(&token.encode()).expect("what was read is written back");
    assert_eq!(again.encode(), token.encode());
    let Ok(proof) = token.verify(token_project()) else {
        return;
    };
    // Whatever it proves, its envelopes say so.
    let grant = token.envelopes().last().expect("a grant comes last");
    assert_eq!(grant.statement().puddle, proof.puddle);
    let granted = grant.statement().grant().expect("a grant comes last");
    assert_eq!((granted.envoy, granted.uid), (proof.envoy, proof.uid));
    let init = token.envelopes().first().expect("init comes first");
    assert_eq!(init.statement().puddle, proof.founder);
});

/// A token of real envelopes, in the order that the bytes say.
fn pick(bytes: &[u8]) -> Vec<u8> {
    let real = real_tokens();
    let envelopes = bytes.iter().take(12).map(|byte| {
        let at = usize::from(*byte) % real.len();
        real[at].clone()
    });
    Token::new(envelopes.collect()).encode()
}
