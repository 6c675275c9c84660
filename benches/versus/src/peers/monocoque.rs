//! monocoque on its default runtime, which is io_uring. A ROUTER is one connection there, so a server has one for each
//! client.

use std::cell::RefCell;
use std::future::Future;
use std::process;
use std::rc::Rc;

use bytes::Bytes;
use monocoque::rt::{self, LocalRuntime, TcpListener};
use monocoque::zmq::{DealerSocket, RouterSocket, SocketOptions};

use super::Outcome;
use crate::tally::{Intake, Supply};

type Failed = Box<dyn std::error::Error>;

/// Runs `serve` for each client. What fails ends the process, as with the other servers.
async fn listen<F: Future<Output = Outcome> + 'static>(serve: impl Fn(RouterSocket) -> F) -> Result<(), Failed> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on tcp://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let client = serve(RouterSocket::from_tcp(stream).await?);
        rt::spawn_detached(async move {
            if let Err(error) = client.await {
                eprintln!("versus: {error}");
                process::exit(1);
            }
        });
    }
}

pub fn sink(intake: Intake) -> Outcome {
    let intake = Rc::new(RefCell::new(intake));
    LocalRuntime::new()?.block_on(listen(|mut client| {
        let intake = Rc::clone(&intake);
        async move {
            let mut frames = Vec::new();
            while client.recv_into(&mut frames).await? {
                let body = frames.last().map(|body: &Bytes| &body[..]);
                intake.borrow_mut().take(body.unwrap_or_default())?;
            }
            Ok(())
        }
    }))
}

pub fn echo() -> Outcome {
    LocalRuntime::new()?.block_on(listen(|mut client| async move {
        while let Some(frames) = client.recv().await? {
            client.send(frames).await?;
        }
        Ok(())
    }))
}

pub fn send(endpoint: &str, mut supply: Supply) -> Outcome {
    LocalRuntime::new()?.block_on(async {
        let options = SocketOptions::default().with_write_coalescing(true);
        let mut socket = DealerSocket::connect_with_options(endpoint, options).await?;
        loop {
            socket.send(vec![Bytes::copy_from_slice(supply.next())]).await?;
        }
    })
}
