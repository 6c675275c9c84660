//! A tap between two peers: forwards octets both ways, keeps what the dialler sent, and can go silent.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::octets::{self, Frame};

/// Forwards each connection that it accepts to one address.
pub(crate) struct Tap {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stalled: AtomicBool,
    from_dialler: Mutex<Vec<u8>>,
}

impl Tap {
    /// `target` is an endpoint as `tcp://127.0.0.1:5555`. Only the first connection is recorded.
    pub(crate) fn before(target: &str) -> Self {
        let target = target.strip_prefix("tcp://").expect("a TCP endpoint");
        let target: SocketAddr = target.parse().expect("an address");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let held = Arc::clone(&shared);
        // Ends with the process: a listener that nobody dials does nothing.
        thread::spawn(move || {
            for (count, dialler) in listener.incoming().enumerate() {
                let Ok(dialler) = dialler else { return };
                let Ok(target) = TcpStream::connect(target) else {
                    continue;
                };
                forward(&dialler, &target, &held, count == 0);
                forward(&target, &dialler, &held, false);
            }
        });
        Tap { address, shared }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// From now on nothing passes in either direction, and both connections stay open: a peer that vanished.
    pub(crate) fn stall(&self) {
        self.shared.stalled.store(true, Ordering::SeqCst);
    }

    /// The frames that the first dialler sent after its greeting.
    pub(crate) fn frames(&self) -> Vec<Frame> {
        let octets = self.shared.from_dialler.lock().expect("not poisoned");
        octets::frames(octets.get(64..).unwrap_or_default()).0
    }
}

fn forward(from: &TcpStream, to: &TcpStream, shared: &Arc<Shared>, record: bool) {
    let mut from = from.try_clone().expect("a second handle");
    let mut to = to.try_clone().expect("a second handle");
    let shared = Arc::clone(shared);
    let tick = Some(Duration::from_millis(50));
    from.set_read_timeout(tick).expect("a read timeout");
    from.set_nodelay(true).expect("no delay");
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(_) => break,
            };
            if shared.stalled.load(Ordering::SeqCst) {
                continue;
            }
            let piece = &buffer[..count];
            if record {
                let mut octets = shared.from_dialler.lock().expect("not poisoned");
                octets.extend_from_slice(piece);
            }
            if to.write_all(piece).is_err() {
                break;
            }
        }
        if shared.stalled.load(Ordering::SeqCst) {
            return;
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}
