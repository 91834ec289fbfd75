//! Text that a person typed or a remote was configured with: an address, and the names it is made of.

#![no_main]

use core::fmt::Display;
use core::str::FromStr;

use gitback_identity::{Address, Handle, ProjectId, PublicKey, PuddleName};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    check::<Address>(text);
    check::<Handle>(text);
    check::<PuddleName>(text);
    check::<ProjectId>(text);
    check::<PublicKey>(text);
    if let Ok(address) = text.parse::<Address>() {
        let built = Address::new(address.host().clone(), address.handle().clone());
        assert_eq!(built, address);
    }
});

/// What is accepted prints exactly as it was read; a refusal does not repeat the text.
fn check<T: FromStr<Err: Display> + Display>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => assert_eq!(value.to_string(), text),
        Err(reject) => {
            let message = reject.to_string();
            assert!(!message.chars().any(char::is_control), "{message:?}");
        }
    }
}
