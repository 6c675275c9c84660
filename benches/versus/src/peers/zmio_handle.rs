//! zmio's blocking handles.

use zmio::{Dealer, Router};

use super::Outcome;
use crate::tally::{Intake, Supply};

fn open() -> Result<Router, Box<dyn std::error::Error>> {
    let router = Router::bind("tcp://127.0.0.1:0")?;
    println!("listening on {}", router.local_endpoints()?[0]);
    Ok(router)
}

pub fn sink(mut intake: Intake) -> Outcome {
    let router = open()?;
    loop {
        let (_, message) = router.recv()?;
        intake.take(message.frame(0).unwrap_or_default())?;
    }
}

pub fn echo() -> Outcome {
    let router = open()?;
    loop {
        let (from, message) = router.recv()?;
        router.send(&from, message)?;
    }
}

pub fn send(endpoint: &str, mut supply: Supply) -> Outcome {
    let dealer = Dealer::connect(endpoint)?;
    loop {
        dealer.send(supply.next())?;
    }
}
