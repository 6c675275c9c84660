//! Any octets as metadata and as a command: what is accepted says all that was there, and our own words are understood.

use zmio::wire::{Command, FrameHeader, MAX_CONTEXT_OCTETS, Properties, SocketType, encode};

/// The first octet is the most properties that are allowed.
pub fn metadata(octets: &[u8]) {
    let (&max, octets) = octets.split_first().unwrap_or((&0, &[]));
    properties(octets, usize::from(max));
    command(octets);
}

fn properties(octets: &[u8], max: usize) {
    let properties = match Properties::parse(octets, max) {
        Ok(properties) => properties,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let mut again = Vec::new();
    let mut count = 0;
    for (name, value) in properties.iter() {
        count += 1;
        again.push(name.len() as u8);
        again.extend_from_slice(name);
        again.extend((value.len() as u32).to_be_bytes());
        again.extend_from_slice(value);
        let name = core::str::from_utf8(name).expect("names are ASCII");
        assert!(properties.get(&name.to_ascii_lowercase()).is_some(), "{name}");
    }
    assert_eq!(again, octets, "nothing is left out");
    assert!(count <= max && properties.is_empty() == (count == 0));
    assert!(count == 0 || Properties::parse(octets, count - 1).is_err(), "one too many");
    assert!(format!("{properties:?}").bytes().all(|octet| matches!(octet, b' '..=b'~')), "what is printed is escaped");

    let identity = &octets[..octets.len().min(255)];
    let mut ours = Vec::new();
    encode::metadata(&mut ours, SocketType::Dealer, Some(identity));
    let ours = Properties::parse(&ours, 2).expect("our own metadata");
    assert_eq!((ours.get("socket-type"), ours.get("IDENTITY")), (Some(&b"DEALER"[..]), Some(identity)));
}

/// The body of a command.
pub(super) fn command(body: &[u8]) {
    let command = match Command::parse(body) {
        Ok(command) => command,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let name = command.name();
    assert_eq!((usize::from(body[0]), &body[1..=name.len()]), (name.len(), name));

    let mut again = Vec::new();
    match command {
        Command::Ready(metadata) => properties(metadata, 64),
        Command::Error(reason) => encode::error(&mut again, core::str::from_utf8(reason).expect("reasons are ASCII")),
        Command::Ping { ttl, context } => encode::ping(&mut again, ttl, context),
        Command::Pong { context } => encode::pong(&mut again, context),
        _ => {}
    }
    if let Some((_, header)) = FrameHeader::parse(&again).expect("our own frame") {
        assert_eq!(&again[header..], body);
        assert!(body.len() <= 6 + 255 && (name == b"ERROR" || body.len() <= 7 + MAX_CONTEXT_OCTETS));
    }
}
