//! Tickets: one word, which is whole or refused.

use gitback_fleet::{TICKET_ADDRESSES_MAX, TICKET_MAX, Ticket, TicketReject};

use crate::envoy;

fn ticket(addresses: &[&str]) -> Ticket {
    let addresses: Vec<String> = addresses.iter().map(|&one| one.to_owned()).collect();
    Ticket::new(envoy(1), [0x5a; 16], &addresses)
}

#[test]
fn a_ticket_is_one_word() {
    for addresses in [
        &[][..],
        &["mars:1531"],
        &[
            "10.0.0.1:1531",
            "[fd00::1]:1531",
            "mars.example.org:443",
            "a:1",
        ],
    ] {
        let made = ticket(addresses);
        let text = made.to_string();
        assert!(text.starts_with("vigo1"));
        assert!(
            text.bytes().all(|byte| byte.is_ascii_alphanumeric()),
            "{text}"
        );
        assert_eq!(text.parse(), Ok(made));
    }
}

#[test]
fn a_ticket_is_written_as_its_spec_says() {
    let text = ticket(&["a:1"]).to_string();
    assert_eq!(text, VECTOR);
}

/// The ticket of the envoy whose seed is 32 bytes of 1, secret 16 bytes of 0x5a, address `a:1`.
const VECTOR: &str = "vigo1rkeohxlubhyzl7ks3mwtzos5olfgocn7dwkbeg7toseadnapn5ofuws2ljnfuws2ljnfuws2ljnfua3bhiy5uhkmjm";

#[test]
fn what_is_too_much_is_left_out() {
    let long = format!("{}:1", "h".repeat(253));
    let made = ticket(&["no address", "a:1", "b:1", "c:1", &long, "e:1"]);
    assert_eq!(made.addresses(), ["a:1", "b:1", "c:1", long.as_str()]);
    assert_eq!(made.addresses().len(), TICKET_ADDRESSES_MAX);
    let longest = ticket(&[long.as_str(); 4]).to_string();
    assert!(longest.len() <= TICKET_MAX, "{}", longest.len());
    assert!(longest.parse::<Ticket>().is_ok());
}

#[test]
fn a_damaged_ticket_is_refused() {
    let text = ticket(&["mars:1531"]).to_string();
    assert_eq!("".parse::<Ticket>(), Err(TicketReject::Prefix));
    assert_eq!("vigo2abc".parse::<Ticket>(), Err(TicketReject::Prefix));
    for end in 5..text.len() {
        let part = &text[..end];
        assert_eq!(part.parse::<Ticket>(), Err(TicketReject::Damaged), "{end}");
    }
    for at in 5..text.len() {
        for digit in ["a", "b", "7", "1", "A", " ", "-"] {
            let mut bent = text.clone();
            bent.replace_range(at..=at, digit);
            if bent != text {
                assert_eq!(bent.parse::<Ticket>(), Err(TicketReject::Damaged), "{bent}");
            }
        }
    }
    for more in ["a", " ", "\n", "7"] {
        assert!(format!("{text}{more}").parse::<Ticket>().is_err());
    }
    let endless = format!("vigo1{}", "a".repeat(1 << 20));
    assert_eq!(endless.parse::<Ticket>(), Err(TicketReject::Damaged));
}

#[test]
fn the_secret_is_not_shown_and_its_hashes_differ() {
    let made = ticket(&["mars:1531"]);
    let shown = format!("{made:?}");
    assert!(
        !shown.contains("5a5a") && !shown.contains("90, 90"),
        "{shown}"
    );
    assert_ne!(
        Ticket::hash(made.secret()),
        Ticket::challenge(made.secret())
    );
}
