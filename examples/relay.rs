//! The relay as a library, in an event loop of your own: `cargo run --example relay -- tcp://127.0.0.1:5557`.

use zmio::net::TcpOptions;
use zmio::{Endpoint, Engine, Options, Relay, RelayEvent, RelayOptions, Socket};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoint: Endpoint = std::env::args().nth(1).as_deref().unwrap_or("tcp://127.0.0.1:5557").parse()?;

    let options = RelayOptions::new();
    let socket = Socket::router(options.apply(Options::new()), std::process::id().into());
    let mut relay = Relay::new(options);

    let mut poll = mio::Poll::new()?;
    let mut events = mio::Events::with_capacity(1024);
    let mut engine = Engine::new(poll.registry(), 0..usize::MAX, socket, TcpOptions::new())?;
    println!("listening on {}", engine.bind(&endpoint)?);
    loop {
        let patience = relay.poll_timeout(engine.socket()).map(|at| at.saturating_duration_since(engine.now()));
        match poll.poll(&mut events, engine.timeout().into_iter().chain(patience).min()) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue, // by a signal
            done => done?,
        }
        engine.process(&events);
        relay.drive(engine.now(), engine.socket_mut());
        engine.flush();
        while let Some(event) = relay.poll_event() {
            match event {
                RelayEvent::Joined { info, .. } => println!("{} joined from {}", info.identity, info.address),
                RelayEvent::Left(gone) => println!("{} left: {}", gone.identity, gone.cause),
                _ => {}
            }
        }
    }
}
