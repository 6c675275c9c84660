//! The handles against the real libzmq.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use zmio::net::HandleOptions;
use zmio::{Dealer, Envelope, Message, Options};

use crate::support::PATIENCE;
use crate::support::libzmq::Libzmq;
use crate::{at, call, connected, fill, large, mark, number, numbered, router};

const MILLION: u32 = 1_000_000;

/// A million messages; the longest that any pause between them may be is `PATIENCE`.
fn numbers(mut recv: impl FnMut() -> u32) {
    for n in 0..MILLION {
        assert_eq!(recv(), n);
    }
}

fn zmq_number(socket: &Libzmq) -> u32 {
    let mut octets = [0; 64];
    loop {
        let read = socket.raw().recv_into(&mut octets, 0).expect("libzmq receives");
        if !socket.raw().get_rcvmore().expect("an option") {
            assert_eq!(read, 4);
            return u32::from_be_bytes(octets[..4].try_into().expect("four"));
        }
    }
}

#[test]
fn a_million_messages_from_our_dealer_reach_a_libzmq_router_in_order() {
    let libzmq = Libzmq::router();
    let dealer = Dealer::connect(&libzmq.bind()).expect("an endpoint");
    let sender = dealer.clone();
    let sending = call(move || (0..MILLION).try_for_each(|n| sender.send(numbered(n))));
    numbers(|| zmq_number(&libzmq));
    sending.returns().expect("all is sent");
    assert_eq!(dealer.close(None), Ok(0));
}

#[test]
fn a_million_messages_from_a_libzmq_dealer_reach_our_router_in_order() {
    let router = router();
    let endpoint = at(&router);
    let sending = call(move || {
        let libzmq = Libzmq::dealer().lingering();
        libzmq.connect(&endpoint);
        (0..MILLION).for_each(|n| libzmq.raw().send(&n.to_be_bytes()[..], 0).expect("libzmq sends"));
    });
    numbers(|| number(&router.recv_timeout(PATIENCE).expect("each comes").1));
    sending.returns();
}

#[test]
fn a_million_messages_from_our_router_reach_a_libzmq_dealer_in_order() {
    let router = router();
    let libzmq = Libzmq::dealer().named(b"libzmq");
    libzmq.connect(&at(&router));
    connected(&router);
    let sending = call(move || (0..MILLION).try_for_each(|n| router.send_timeout("libzmq", numbered(n), PATIENCE)));
    numbers(|| zmq_number(&libzmq));
    sending.returns().expect("all is sent");
}

#[test]
fn a_million_messages_from_a_libzmq_router_reach_our_dealer_in_order() {
    let (bound, endpoint) = mpsc::channel();
    let sending = call(move || {
        let libzmq = Libzmq::router().lingering();
        bound.send(libzmq.bind()).expect("the test waits");
        let who = libzmq.recv().remove(0);
        for n in 0..MILLION {
            libzmq.raw().send(&who, zmq::SNDMORE).expect("libzmq sends");
            libzmq.raw().send(&n.to_be_bytes()[..], 0).expect("libzmq sends");
        }
    });
    let dealer = Dealer::connect(&endpoint.recv_timeout(PATIENCE).expect("it binds")).expect("an endpoint");
    dealer.send("hello").expect("it is open");
    numbers(|| number(&dealer.recv_timeout(PATIENCE).expect("each comes")));
    sending.returns();
}

#[test]
fn threads_that_send_to_libzmq_each_keep_their_order() {
    const THREADS: u32 = 4;
    const EACH: u32 = 10_000;
    let libzmq = Libzmq::router();
    let dealer = Dealer::connect(&libzmq.bind()).expect("an endpoint");
    let senders: Vec<_> = (0..THREADS)
        .map(|thread| {
            let dealer = dealer.clone();
            call(move || (0..EACH).try_for_each(|n| dealer.send(numbered(thread << 16 | n))))
        })
        .collect();
    let mut next = [0; THREADS as usize];
    for _ in 0..THREADS * EACH {
        let n = zmq_number(&libzmq);
        let place = &mut next[(n >> 16) as usize];
        assert_eq!(n & 0xffff, *place, "of thread {}", n >> 16);
        *place += 1;
    }
    senders.into_iter().for_each(|sender| sender.returns().expect("all is sent"));
}

#[test]
fn a_dealer_sends_on_while_libzmq_restarts_and_nothing_comes_twice() {
    let mut libzmq = Libzmq::router();
    let endpoint = libzmq.bind();
    let dealer = Dealer::connect(&endpoint).expect("an endpoint");
    let enough = Arc::new(AtomicBool::new(false));
    let (sender, stop) = (dealer.clone(), Arc::clone(&enough));
    let sending = call(move || {
        let mut sent = 0;
        while !stop.load(Ordering::SeqCst) {
            sender.send(numbered(sent)).expect("it is open");
            sent += 1;
        }
        sent
    });
    let mut last = None;
    let mut take = |libzmq: &Libzmq| {
        let n = zmq_number(libzmq);
        assert!(last < Some(n), "{n} after {last:?}");
        last = Some(n);
        n
    };
    for _ in 0..3 {
        for _ in 0..2_000 {
            take(&libzmq);
        }
        drop(libzmq);
        libzmq = Libzmq::router();
        libzmq.bind_to(&endpoint);
    }
    let mut newest = take(&libzmq);
    enough.store(true, Ordering::SeqCst);
    // What is waiting to be sent may fill the queue, and the sender with it.
    let closing = thread::spawn(move || {
        let sent = sending.returns();
        (sent, dealer.close(None))
    });
    while !closing.is_finished() {
        if libzmq.raw().poll(zmq::POLLIN, 10).expect("poll") > 0 {
            newest = take(&libzmq);
        }
    }
    let (sent, unsent) = closing.join().expect("it closes");
    assert_eq!(unsent, Ok(0));
    // After the last restart nothing is lost.
    while newest != sent - 1 {
        newest = take(&libzmq);
    }
}

#[test]
fn a_router_goes_on_sending_to_a_libzmq_dealer_that_comes_back() {
    let router = router();
    for round in 0..5 {
        let libzmq = Libzmq::dealer().named(b"again");
        libzmq.connect(&at(&router));
        let end = Instant::now() + PATIENCE;
        while router.send("again", numbered(round)).is_err() {
            // Until its new connection is made, and the old one is gone.
            assert!(Instant::now() < end, "it does not come back");
            let _ = router.event_timeout(Duration::from_millis(10));
        }
        assert_eq!(zmq_number(&libzmq), round);
        drop(libzmq);
        crate::disconnected(&router);
    }
}

#[test]
fn a_close_lingers_for_a_libzmq_that_receives_late() {
    let libzmq = Libzmq::router();
    libzmq.raw().set_rcvhwm(1).expect("receive mark");
    let options = HandleOptions::new().socket(Options::new().send_mark(mark(20)));
    let dealer = Dealer::open(options).expect("a thread");
    dealer.dial(&libzmq.bind()).expect("an endpoint");
    let queued = || Some(dealer.peers().expect("it is open").pop()?.counts.queued);
    let accepted = fill(20, || dealer.try_send(large()).is_ok(), queued);

    let closer = dealer.clone();
    let closing = call(move || closer.close(Some(PATIENCE)));
    for _ in 0..accepted {
        assert_eq!(libzmq.recv()[1].len(), 256 * 1024);
    }
    assert_eq!(closing.returns(), Ok(0));
    assert!(libzmq.recv_within(Duration::ZERO).is_none());
}

#[test]
fn a_close_gives_up_on_a_libzmq_that_does_not_receive_and_says_what_is_left() {
    let libzmq = Libzmq::router();
    libzmq.raw().set_rcvhwm(1).expect("receive mark");
    let options = HandleOptions::new().socket(Options::new().send_mark(mark(20)));
    let dealer = Dealer::open(options).expect("a thread");
    dealer.dial(&libzmq.bind()).expect("an endpoint");
    let queued = || Some(dealer.peers().expect("it is open").pop()?.counts.queued);
    let accepted = fill(20, || dealer.try_send(large()).is_ok(), queued);

    let unsent = dealer.close(Some(Duration::from_millis(100))).expect("it works");
    let mut received = 0;
    while received + unsent < accepted {
        libzmq.recv();
        received += 1;
    }
    assert!(libzmq.recv_within(Duration::from_millis(100)).is_none(), "each is either received or counted");
    assert!(unsent > 0);
}

#[test]
fn a_router_answers_a_libzmq_req() {
    let router = router();
    let endpoint = at(&router);
    let asking = call(move || {
        let req = Libzmq::new(zmq::REQ);
        req.connect(&endpoint);
        for n in 0..100_u32 {
            req.send(&[&b"question"[..], &n.to_be_bytes()]);
            assert_eq!(req.recv(), [&b"answer"[..], &n.to_be_bytes()]);
        }
    });
    for _ in 0..100 {
        let (from, request) = router.recv_timeout(PATIENCE).expect("each comes");
        let (envelope, question) = request.split_envelope().expect("a REQ sends a delimiter");
        assert_eq!(question.frame(0), Some(&b"question"[..]));
        let answer = [b"answer", question.frame(1).expect("a number")];
        router.send_timeout(&from, envelope.wrap(Message::multipart(answer)), PATIENCE).expect("it waits");
    }
    asking.returns();
}

#[test]
fn a_dealer_asks_a_libzmq_rep() {
    let (bound, endpoint) = mpsc::channel();
    let answering = call(move || {
        let rep = Libzmq::new(zmq::REP);
        bound.send(rep.bind()).expect("the test waits");
        for _ in 0..100 {
            let question = rep.recv();
            rep.send(&question);
        }
        // The last answer is still on its way.
        rep
    });
    let dealer = Dealer::connect(&endpoint.recv_timeout(PATIENCE).expect("it binds")).expect("an endpoint");
    (0..100).for_each(|n| dealer.send(Envelope::new().wrap(numbered(n))).expect("it is open"));
    for n in 0..100 {
        let reply = dealer.recv_timeout(PATIENCE).expect("each is answered");
        let (envelope, answer) = reply.split_envelope().expect("a REP sends the envelope back");
        assert_eq!((envelope, number(&answer)), (Envelope::new(), n));
    }
    drop(answering.returns());
}

/// REQ (libzmq), our ROUTER and DEALER as a proxy, and another ROUTER of ours that answers: two routers on the way.
#[test]
fn an_envelope_finds_its_way_back_through_several_routers() {
    let (front, worker) = (router(), router());
    let back = Dealer::connect(&at(&worker)).expect("an endpoint");
    let endpoint = at(&front);
    let asking: Vec<_> = (0..3_u32)
        .map(|client| {
            let endpoint = endpoint.clone();
            call(move || {
                let req = Libzmq::new(zmq::REQ);
                req.connect(&endpoint);
                for n in 0..50_u32 {
                    req.send(&[client.to_be_bytes(), n.to_be_bytes()]);
                    assert_eq!(req.recv(), [client.to_be_bytes(), n.to_be_bytes()]);
                }
            })
        })
        .collect();
    let (there, to_worker) = (front.clone(), back.clone());
    let _forward = call(move || {
        for (from, request) in there.iter() {
            let (envelope, body) = request.split_envelope().expect("a REQ sends a delimiter");
            let hops = [&from[..]].into_iter().chain(envelope.addresses());
            to_worker.send(Envelope::through(hops).wrap(body)).expect("it is open");
        }
    });
    let (again, from_worker) = (front.clone(), back.clone());
    let _backward = call(move || {
        for reply in from_worker.iter() {
            let (envelope, body) = reply.split_envelope().expect("it comes as it went");
            let mut hops = envelope.addresses();
            let to = hops.next().expect("we put it there");
            let rest = Envelope::through(hops);
            again.send(to, rest.wrap(body)).expect("it waits");
        }
    });
    for _ in 0..150 {
        let (from, request) = worker.recv_timeout(PATIENCE).expect("each comes");
        let (envelope, body) = request.split_envelope().expect("it has come a long way");
        assert_eq!(envelope.addresses().count(), 1);
        worker.send(&from, envelope.wrap(body)).expect("it is there");
    }
    asking.into_iter().for_each(|asking| asking.returns());
    front.close(None).expect("it works");
    back.close(None).expect("it works");
}
