//! A ROUTER and a DEALER without any I/O, as on a system with a transport of its own: two state machines that pass octets
//! to each other. `cargo run --example memory`.

use zmio::socket::{Action, Address, Pattern};
use zmio::{Event, Instant, Options, PeerId, Socket};

/// Carries what `from` has to say to the other end, which knows it as `peer`.
fn carry<P: Pattern, Q: Pattern>(now: Instant, from: &mut Socket<P>, to: &mut Socket<Q>, as_peer: PeerId) {
    while let Some(action) = from.poll_action() {
        let Action::Transmit { peer } = action else { continue };
        loop {
            let mut slices = [&[][..]; 4];
            let filled = from.gather(peer, &mut slices);
            let octets = slices[..filled].concat();
            if octets.is_empty() {
                break;
            }
            from.sent(now, peer, octets.len());
            // A transport with a buffer of its own would keep what is not taken until `ResumeRead`.
            let taken = to.handle_input(now, as_peer, &octets);
            assert_eq!(taken, octets.len());
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let now = Instant::ZERO;
    let mut router = Socket::router(Options::new(), 1);
    let mut dealer = Socket::dealer(Options::new(), 2);
    let server = dealer.connect(now, "over there");
    let _dial = dealer.poll_action();
    dealer.handle_dialed(now, server, Address::Unnamed);
    let client = router.accept(now, Address::Unnamed)?;

    dealer.send("ping")?;
    for _ in 0..4 {
        carry(now, &mut dealer, &mut router, client);
        carry(now, &mut router, &mut dealer, server);
        while let Some(event) = router.poll_event() {
            if let Event::Message { peer, message } = event {
                println!("the router got {message:?}");
                router.send(peer, "pong")?;
            }
        }
    }
    while let Some(event) = dealer.poll_event() {
        if let Event::Message { message, .. } = event {
            println!("the dealer got {message:?}");
        }
    }
    Ok(())
}
