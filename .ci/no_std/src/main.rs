//! Proof that the core needs no std: this program has its own panic handler and its own allocator, so that std coming
//! in by any dependency is a compile error (two panic handlers). A ROUTER and a DEALER talk to each other in memory;
//! the exit status says whether they understood each other.
#![no_std]
#![no_main]

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::{c_char, c_int, c_void};
use core::panic::PanicInfo;

use zmio::socket::{Address, Dealer, Pattern, Router};
use zmio::{Action, Event, Instant, Message, Options, PeerId, Socket};

/// Nothing here takes time.
const NOW: Instant = Instant::ZERO;

#[link(name = "c")]
unsafe extern "C" {
    fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void;
    fn free(block: *mut c_void);
    fn abort() -> !;
}

struct Libc;

// SAFETY: aligned_alloc and free keep the contract of GlobalAlloc.
unsafe impl GlobalAlloc for Libc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // C11 wants an alignment that the system knows, and a size that is a multiple of it. The size of a Layout is
        // far enough below the largest number to be rounded up.
        let alignment = layout.align().max(size_of::<usize>());
        // SAFETY: both numbers are as said above, and the size is not zero, which callers of alloc see to.
        unsafe { aligned_alloc(alignment, layout.size().next_multiple_of(alignment)).cast() }
    }

    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: callers of dealloc hand in what alloc returned.
        unsafe { free(block.cast()) }
    }
}

#[global_allocator]
static ALLOCATOR: Libc = Libc;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: abort may be called anywhere.
    unsafe { abort() }
}

// SAFETY: the C runtime calls `main` with these types, and there is no other function of that name.
#[unsafe(no_mangle)]
extern "C" fn main(_: c_int, _: *const *const c_char) -> c_int {
    match exchange() {
        Some(()) => 0,
        None => 1,
    }
}

/// A request and its reply.
fn exchange() -> Option<()> {
    let mut router = Socket::router(Options::new(), 1);
    let mut dealer = Socket::dealer(Options::new(), 2);
    let server = dealer.connect(NOW, "memory");
    let Some(Action::Dial { .. }) = dealer.poll_action() else { return None };
    dealer.handle_dialed(NOW, server, Address::Unnamed);
    let client = router.accept(NOW, Address::Unnamed).ok()?;

    let (ping, pong) = (Message::multipart(["", "ping"]), Message::multipart(["", "pong"]));
    dealer.send(ping.clone()).ok()?;
    settle((&mut dealer, server), (&mut router, client))?;
    let Some(Event::Connected { peer, .. }) = router.poll_event() else { return None };
    let Some(Event::Message { message, .. }) = router.poll_event() else { return None };
    if message != ping {
        return None;
    }
    router.send(peer, pong.clone()).ok()?;
    settle((&mut dealer, server), (&mut router, client))?;
    let Some(Event::Connected { .. }) = dealer.poll_event() else { return None };
    let Some(Event::Message { message, .. }) = dealer.poll_event() else { return None };
    (message == pong).then_some(())
}

/// Carries octets both ways until neither side has any.
fn settle(dealer: (&mut Socket<Dealer>, PeerId), router: (&mut Socket<Router>, PeerId)) -> Option<()> {
    while carry(dealer.0, router.0, router.1)? + carry(router.0, dealer.0, dealer.1)? > 0 {}
    Some(())
}

/// Writes what `from` has for its only peer into `to`, where that connection is `at`. Returns the number of octets.
fn carry<P: Pattern, Q: Pattern>(from: &mut Socket<P>, to: &mut Socket<Q>, at: PeerId) -> Option<usize> {
    let mut carried = 0;
    while let Some(action) = from.poll_action() {
        let Action::Transmit { peer } = action else { return None };
        loop {
            let mut slices = [&[][..]; 4];
            let filled = from.gather(peer, &mut slices);
            let octets: usize = slices.iter().take(filled).map(|slice| to.handle_input(NOW, at, slice)).sum();
            if octets == 0 {
                break;
            }
            from.sent(NOW, peer, octets);
            carried += octets;
        }
    }
    Some(carried)
}
