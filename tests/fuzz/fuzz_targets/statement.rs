//! One body under the type that the first byte picks.

#![no_main]

use gitback_envelope::Statement;
use gitback_fuzz::{check_statement, type_name};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((choice, body)) = input.split_first() else {
        return;
    };
    let type_name = type_name(*choice);
    if let Ok(statement) = Statement::decode(&type_name, body) {
        assert_eq!(statement.type_name(), type_name);
        check_statement(&statement, body);
    }
});
