//! What asks a command to end: Ctrl-C and SIGTERM.
//!
//! SIGHUP stays what it was: `nohup` has it ignored, and that must outlast the terminal.

use std::{io, thread};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::Failure;

/// Calls `act` whenever somebody asks, in a thread of its own, where it may do what a signal handler may not.
pub(crate) fn on_each(act: impl FnMut() + Send + 'static) -> Result<(), Failure> {
    let thread = thread::Builder::new().name("zmio-signals".into());
    let started = listen(act).and_then(|watch| thread.spawn(watch));
    started.map(|_| ()).map_err(|error| Failure::Run(format!("cannot handle signals: {error}")))
}

#[cfg(unix)]
fn listen(mut act: impl FnMut() + Send + 'static) -> io::Result<impl FnOnce() + Send + 'static> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    Ok(move || signals.forever().for_each(|_| act()))
}

/// Without Unix a signal wakes nobody: it only leaves a mark, which somebody has to look for.
#[cfg(not(unix))]
fn listen(mut act: impl FnMut() + Send + 'static) -> io::Result<impl FnOnce() + Send + 'static> {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    /// Too short for people to notice.
    const LOOK: Duration = Duration::from_millis(50);

    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&asked))?;
    }
    Ok(move || {
        loop {
            if asked.swap(false, Ordering::AcqRel) {
                act();
            }
            thread::sleep(LOOK);
        }
    })
}
