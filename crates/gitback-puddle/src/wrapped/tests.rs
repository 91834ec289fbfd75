use super::*;

fn sample() -> (Wrapped, Passphrase) {
    let passphrase = Passphrase::new("open sesame".to_owned()).expect("a passphrase");
    let wrapped = Wrapped::seal(
        &"dan".parse().expect("a name"),
        &SecretKey::from_seed(&[7; 32]),
        &passphrase,
        Cost::new(64, 1, 1).expect("a cost"),
        &Fresh {
            salt: [1; 16],
            nonce: [2; 24],
        },
        1_700_000_000_000,
    )
    .expect("wrapped");
    (wrapped, passphrase)
}

/// The sample's file with one piece of text replaced.
fn changed(from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(sample().0.encode()).expect("JSON is UTF-8");
    assert!(text.contains(from), "{from} is in the file");
    text.replacen(from, to, 1).into_bytes()
}

#[test]
fn opens_what_was_sealed() {
    let (wrapped, passphrase) = sample();
    let read = Wrapped::decode(&wrapped.encode()).expect("decoded");
    assert_eq!(read.encode(), wrapped.encode());
    let secret = read.open(&passphrase).expect("opened");
    assert_eq!(secret.seed(), &[7; 32]);
}

#[test]
fn keeps_the_written_format() {
    let text = String::from_utf8(sample().0.encode()).expect("JSON is UTF-8");
    assert_eq!(text, include_str!("../../tests/vectors/identity.wrapped"));
}

#[test]
fn stays_sealed_for_another_passphrase() {
    let (wrapped, _) = sample();
    let wrong = Passphrase::new("open Sesame".to_owned()).expect("a passphrase");
    assert!(matches!(wrapped.open(&wrong), Err(OpenFailure::Sealed)));
}

#[test]
fn stays_sealed_when_anything_was_changed() {
    let (_, passphrase) = sample();
    let other = SecretKey::from_seed(&[8; 32]).public().to_string();
    let own = SecretKey::from_seed(&[7; 32]).public().to_string();
    for (from, to) in [
        ("\"name\": \"dan\"", "\"name\": \"eve\""),
        (own.as_str(), other.as_str()),
        ("\"salt\": \"01", "\"salt\": \"11"),
        ("\"nonce\": \"02", "\"nonce\": \"12"),
        ("\"passes\": 1", "\"passes\": 2"),
        ("\"memory_kib\": 64", "\"memory_kib\": 72"),
    ] {
        let wrapped = Wrapped::decode(&changed(from, to)).expect("well formed");
        let opened = wrapped.open(&passphrase);
        assert!(matches!(opened, Err(OpenFailure::Sealed)), "{from}");
    }
}

#[test]
fn refuses_parameters_that_would_exhaust_the_machine() {
    for (from, to) in [
        ("\"memory_kib\": 64", "\"memory_kib\": 4294967295"),
        ("\"passes\": 1", "\"passes\": 4294967295"),
        ("\"lanes\": 1", "\"lanes\": 16777215"),
        ("\"memory_kib\": 64", "\"memory_kib\": 0"),
    ] {
        let refused = Wrapped::decode(&changed(from, to));
        assert!(matches!(refused, Err(Malformed::Cost(_))), "{to}");
    }
}

#[test]
fn refuses_malformed_files() {
    for (from, to) in [
        ("\"kdf\": \"argon2id\"", "\"kdf\": \"argon2i\""),
        ("xchacha20poly1305", "chacha20poly1305"),
        ("\"salt\": \"01", "\"salt\": \""),
        ("\"nonce\": \"02", "\"nonce\": \"0G"),
        ("\"ciphertext\": \"", "\"ciphertext\": \"00"),
        ("\"name\": \"dan\"", "\"name\": \"Dan\""),
    ] {
        let refused = Wrapped::decode(&changed(from, to));
        assert!(matches!(refused, Err(Malformed::Field(_))), "{to}");
    }
    let refused = Wrapped::decode(&changed("\"version\": 1", "\"version\": 2, \"new\": []"));
    assert!(matches!(refused, Err(Malformed::UnknownVersion(2))));
    let refused = Wrapped::decode(&changed("\"version\": 1", "\"version\": 1, \"more\": 1"));
    assert!(matches!(refused, Err(Malformed::Json(_))));
    for bytes in [&b""[..], b"{}", b"null", &[0xff; 100]] {
        assert!(matches!(Wrapped::decode(bytes), Err(Malformed::Json(_))));
    }
}
