//! What carries a puddle to another machine or back from paper: the words of a code, recovery words, and key files.
//!
//! The first byte picks which.

#![no_main]

use gitback_pairing::Code;
use gitback_puddle::{Carried, from_recovery_words, recovery_words, with_recovery_word};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    match first % 3 {
        0 => text(rest, code),
        1 => text(rest, recovery),
        _ => files(rest),
    }
});

fn text(bytes: &[u8], check: impl Fn(&str)) {
    if let Ok(text) = str::from_utf8(bytes) {
        check(text);
    }
}

fn code(text: &str) {
    if let Ok(code) = text.parse::<Code>() {
        let words = code.words();
        let again: Code = words.parse().expect("what is shown can be typed");
        assert_eq!(*again.words(), *words);
    }
}

fn recovery(text: &str) {
    if let Ok(secret) = from_recovery_words(text) {
        let words = recovery_words(&secret);
        let again = from_recovery_words(&words).expect("what is shown can be typed");
        assert_eq!(again.seed(), secret.seed());
        let first = words.split(' ').next().expect("a word");
        let same = with_recovery_word(text, 1, first);
        let again = from_recovery_words(&same).expect("the same words");
        assert_eq!(again.seed(), secret.seed());
    }
}

/// The present key's file and those of earlier ones, with zero bytes between them.
fn files(bytes: &[u8]) {
    let mut files = bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec);
    let (current, retired) = (files.next().unwrap_or_default(), files.collect::<Vec<_>>());
    if let Ok(carried) = Carried::new(current.clone(), retired.clone()) {
        assert_eq!(carried.current(), current);
        assert!(carried.retired().eq(retired.iter().map(Vec::as_slice)));
    }
}
