//! What holds for any input.

use gitback_identity::{
    Address, EnvoyKey, Fingerprint, Handle, Host, KeyReject, ProjectId, PublicKey, PuddleName,
    SecretKey, Signature, hex,
};
use proptest::prelude::*;

/// Text close to what is accepted, so that both outcomes are common.
fn near_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "(gitback://)?[a-z0-9.@:/?#%_-]{0,80}",
        "gitback://[a-z][a-z0-9-]{0,34}/[a-z0-9._-]{0,66}",
        "gitback://[0-9a-fA-F]{64}/[a-z0-9]{1,8}",
        ".{0,300}",
    ]
}

proptest! {
    #[test]
    fn what_is_accepted_prints_as_it_was_read(text in near_text()) {
        if let Ok(address) = text.parse::<Address>() {
            prop_assert_eq!(address.to_string(), text.as_str());
        }
        if let Ok(handle) = Handle::parse(&text) {
            prop_assert_eq!(handle.as_str(), text.as_str());
        }
        if let Ok(name) = PuddleName::parse(&text) {
            prop_assert_eq!(name.as_str(), text.as_str());
        }
        if let Ok(project) = text.parse::<ProjectId>() {
            prop_assert_eq!(project.to_string(), text.as_str());
        }
        if let Ok(fingerprint) = text.parse::<Fingerprint>() {
            prop_assert!([fingerprint.hex(), fingerprint.to_string()].contains(&text));
        }
    }

    #[test]
    fn every_host_and_handle_makes_an_address(
        id in any::<[u8; 32]>(),
        name in "[a-z][a-z0-9-]{1,31}",
        handle in "[a-z0-9][a-z0-9_-]{0,62}",
    ) {
        let handle = Handle::parse(&handle).expect("a handle");
        let project = Host::Project(ProjectId::from_bytes(&id));
        let puddle = Host::Puddle(name.parse().expect("a name"));
        for host in [project, puddle] {
            let address = Address::new(host, handle.clone());
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }
    }

    #[test]
    fn hex_reads_back_what_it_wrote(bytes in any::<Vec<u8>>()) {
        prop_assert_eq!(hex::decode(&hex::encode(&bytes), bytes.len()), Some(bytes));
    }

    #[test]
    fn any_bytes_are_a_key_or_a_reason(bytes in any::<[u8; 32]>()) {
        match PublicKey::from_bytes(&bytes) {
            Ok(key) => {
                prop_assert_eq!(key.as_bytes(), &bytes);
                prop_assert_eq!(key.to_string().parse(), Ok(key));
            }
            Err(reject) => prop_assert_ne!(reject, KeyReject::NotHex),
        }
    }

    #[test]
    fn own_signatures_verify_and_others_do_not(
        seed in any::<[u8; 32]>(),
        message in any::<Vec<u8>>(),
        other in any::<Vec<u8>>(),
        flip in 0_usize..512,
    ) {
        let secret = SecretKey::from_seed(&seed);
        let signature = secret.sign(&message);
        prop_assert!(secret.public().verify(&message, &signature).is_ok());
        let same = other == message;
        prop_assert_eq!(secret.public().verify(&other, &signature).is_ok(), same);
        let mut bytes = *signature.as_bytes();
        bytes[flip / 8] ^= 1 << (flip % 8);
        let flipped = Signature::from_bytes(&bytes);
        prop_assert!(secret.public().verify(&message, &flipped).is_err());
    }

    #[test]
    fn keys_made_from_seeds_are_accepted(seed in any::<[u8; 32]>()) {
        let public = SecretKey::from_seed(&seed).public();
        prop_assert_eq!(PublicKey::from_bytes(public.as_bytes()), Ok(public));
        prop_assert_eq!(EnvoyKey::new(public).to_string().parse(), Ok(EnvoyKey::new(public)));
    }
}

#[test]
fn secrets_do_not_print_themselves() {
    let secret = SecretKey::from_seed(&[0xab; 32]);
    let shown = format!("{secret:?}");
    assert!(!shown.contains("abab"), "{shown}");
    assert!(!shown.contains("171, 171"), "{shown}");
}
