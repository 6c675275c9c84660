//! A ROUTER that sends every message back to whoever sent it: `cargo run --example echo -- tcp://127.0.0.1:5555`.

use zmio::Router;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "tcp://127.0.0.1:5555".into());
    let router = Router::bind(&endpoint)?;
    println!("listening on {}", router.local_endpoints()?[0]);
    for (from, message) in router.iter() {
        if let Err(error) = router.send(&from, message) {
            eprintln!("{from}: {error}");
        }
    }
    Ok(())
}
