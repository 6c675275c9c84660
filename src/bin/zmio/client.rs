//! `zmio client`: a DEALER for people. Lines in, messages out.

use std::io::{self, BufRead, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use clap::Args;
use zmio::net::{Endpoint, HandleEvent, HandleOptions, OpenError};
use zmio::{Dealer, Event, Identity, Message, Options};

use crate::values::seconds;
use crate::{Failure, signals};

/// Longer than anybody waits for an event.
const FOREVER: Duration = Duration::from_secs(1 << 40);
/// How long what has come may still be printed after a signal. Nobody may be reading, and then the main thread never ends.
const GRACE: Duration = Duration::from_secs(2);
/// The exit status after that, as shells tell of SIGINT.
const INTERRUPTED: i32 = 130;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Where to connect, as tcp://HOST:PORT
    endpoint: Endpoint,
    /// The identity by which a ROUTER knows this client [default: the ROUTER assigns one]
    #[arg(long, value_name = "TEXT")]
    identity: Option<String>,
    /// Send each line as the only frame of its message, without an empty frame before it
    #[arg(long)]
    bare: bool,
    /// Say nothing on standard error about the connection
    #[arg(long)]
    quiet: bool,
    /// Leave after so many messages were received, instead of at the end of input
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// How long to go on sending what is queued when it is time to leave, and to wait until the other side has read it
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "5")]
    linger: Duration,
}

/// Why it all ends, and how many messages were not sent (`u64::MAX`: nobody knows), for whichever thread finds out.
#[derive(Default)]
struct End {
    failure: OnceLock<String>,
    unsent: AtomicU64,
}

/// Runs until the end of input, until so many messages came, or until Ctrl-C or SIGTERM.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut options = Options::new();
    if let Some(identity) = &arguments.identity {
        let identity = Identity::new(identity.clone().into_bytes());
        options = options.identity(identity.map_err(|error| Failure::Usage(format!("--identity: {error}")))?);
    }
    let cannot = |error: &dyn std::fmt::Display| Failure::Run(format!("cannot start: {error}"));
    let dealer = Dealer::open(HandleOptions::new().socket(options)).map_err(|error| cannot(&error))?;

    let end = Arc::new(End::default());
    let interrupted = dealer.clone();
    signals::on_each(move || {
        // What was not sent is known to whoever leaves next.
        let _ = interrupted.close(Some(Duration::ZERO));
        thread::sleep(GRACE);
        std::process::exit(INTERRUPTED);
    })?;
    match dealer.dial(&arguments.endpoint.to_string()) {
        // By a signal that has come already. There is nothing to be sent, and what follows ends by itself.
        Ok(_) | Err(OpenError::Closed) => {}
        Err(error) => return Err(Failure::Usage(error.to_string())),
    }

    let watcher = (dealer.clone(), Arc::clone(&end), arguments.quiet);
    spawn("zmio-events", move || watch(&watcher.0, &watcher.1, watcher.2))?;
    let reader = (dealer.clone(), Arc::clone(&end), arguments.bare);
    let (linger, counts) = (arguments.linger, arguments.count.is_some());
    spawn("zmio-input", move || {
        let (dealer, end, bare) = reader;
        match send_lines(&dealer, bare) {
            Ok(()) if counts => return,
            Ok(()) => {}
            Err(error) => end.fail(format!("cannot read input: {error}")),
        }
        leave(&dealer, &end, linger);
    })?;

    match print_messages(&dealer, arguments.bare, arguments.count.unwrap_or(u64::MAX)) {
        Ok(()) => {}
        // Nobody reads on.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => end.fail(format!("cannot write output: {error}")),
    }
    leave(&dealer, &end, arguments.linger);
    if let Some(reason) = end.failure.get() {
        return Err(Failure::Run(reason.clone()));
    }
    match end.unsent.load(Ordering::Acquire) {
        0 => Ok(()),
        u64::MAX => Err(Failure::Run("the I/O thread has failed".into())),
        unsent => Err(Failure::Run(format!("not sent: {unsent} of the messages"))),
    }
}

impl End {
    /// It is for this reason, unless there was another before.
    fn fail(&self, reason: String) {
        let _ = self.failure.set(reason);
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let thread = thread::Builder::new().name(name.into()).spawn(work);
    thread.map(|_| ()).map_err(|error| Failure::Run(format!("cannot start a thread: {error}")))
}

fn leave(dealer: &Dealer, end: &End, linger: Duration) {
    end.unsent.store(dealer.close(Some(linger)).unwrap_or(u64::MAX), Ordering::Release);
}

/// Sends each line of standard input, until its end or that of the dealer. What does not fit yet waits, and with it the
/// input.
fn send_lines(dealer: &Dealer, bare: bool) -> io::Result<()> {
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let message = if bare { Message::from(text) } else { Message::multipart([&b""[..], text]) };
        if dealer.send(message).is_err() {
            break;
        }
        line.clear();
    }
    Ok(())
}

/// Prints so many messages, fewer if the dealer is closed.
fn print_messages(dealer: &Dealer, bare: bool, wanted: u64) -> io::Result<()> {
    // In this order: after the last one no further message is waited for.
    (0..wanted).zip(dealer.iter()).try_for_each(|(_, message)| print(&message, bare))
}

/// Tells what becomes of the connection.
fn watch(dealer: &Dealer, end: &End, quiet: bool) {
    while let Ok(event) = dealer.event_timeout(FOREVER) {
        let HandleEvent::Socket(event) = event else { continue };
        let line = match event {
            Event::Connected { info, .. } => format!("connected to {}", info.address),
            Event::Disconnected(gone) => format!("disconnected from {}: {}", gone.address, gone.cause),
            Event::Rejected(rejected) => format!("no handshake with {}: {}", rejected.address, rejected.cause),
            Event::Retrying { after, cause, .. } => format!("{cause}; dialling again in {} ms", after.as_millis()),
            Event::GaveUp { cause, .. } => {
                end.fail(cause.to_string());
                let _ = dealer.close(Some(Duration::ZERO));
                return;
            }
            _ => continue,
        };
        if !quiet {
            crate::complain(&line);
        }
    }
}

/// One line for each message: its frames, with a tab between them. The empty frame that goes before a body in this
/// framing is left out, unless frames are taken bare.
fn print(message: &Message, bare: bool) -> io::Result<()> {
    let mut frames = message.frames().peekable();
    if !bare && frames.len() > 1 {
        frames.next_if(|frame| frame.is_empty());
    }
    let line = frames.map(text).collect::<Vec<_>>().join("\t");
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// A frame as text that is safe to print: what is no text, or would steer a terminal, is escaped.
fn text(frame: &[u8]) -> String {
    let mut text = String::with_capacity(frame.len());
    for chunk in frame.utf8_chunks() {
        // Not character by character: what combines with the one before it would be escaped too.
        let escaped = chunk.valid().escape_debug().to_string();
        // Before each quote there is one backslash that is the quote's own.
        text.push_str(&escaped.replace(r"\'", "'").replace(r#"\""#, "\""));
        text.extend(chunk.invalid().iter().map(|octet| format!("\\x{octet:02x}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn text_is_printed_as_it_is() {
        assert_eq!(text("it's \"grün\" 🦀".as_bytes()), "it's \"grün\" 🦀");
    }

    #[test]
    fn what_combines_with_the_character_before_it_is_text() {
        let texts = ["u\u{308}", "नमस्ते", "❤\u{fe0f}", "שָׁלוֹם", "กำลัง", "\"u\u{308}\" it's"];
        for it in texts {
            assert_eq!(text(it.as_bytes()), it);
        }
    }

    #[test]
    fn what_has_no_character_before_it_to_combine_with_is_escaped() {
        assert_eq!(text("\u{308}u".as_bytes()), r"\u{308}u");
        assert_eq!(text(b"u\xff\xcc\x88"), r"u\xff\u{308}");
    }

    #[test]
    fn a_backslash_is_doubled_and_a_quote_is_not_escaped() {
        assert_eq!(text(br#"\"#), r#"\\"#);
        assert_eq!(text(br#"\' \" \\' \\" \\ '\ "\"#), r#"\\' \\" \\\\' \\\\" \\\\ '\\ "\\"#);
    }

    #[test]
    fn what_is_no_text_or_steers_a_terminal_is_escaped() {
        assert_eq!(text(b"\x1b[2J\t\n\\"), r"\u{1b}[2J\t\n\\");
        assert_eq!(text(b"\xff\x00ok\xc3"), r"\xff\0ok\xc3");
        let ranges = ['\0'..='\x1f', '\x7f'..='\u{9f}', '\u{200b}'..='\u{200f}', '\u{2028}'..='\u{202e}'];
        for steers in ranges.into_iter().flatten() {
            let shown = text(format!("a{steers}b").as_bytes());
            assert!(shown.starts_with("a\\") && shown.ends_with('b') && !shown.contains(steers), "{shown}");
        }
        for steers in ['\u{ad}', '\u{61c}', '\u{2066}', '\u{2069}', '\u{feff}', '\u{fff9}', '\u{e0041}', '\u{e000}'] {
            assert!(!text(format!("a{steers}b").as_bytes()).contains(steers), "{:x}", u32::from(steers));
        }
    }
}
