//! Round trip and throughput of the blocking handles beside libzmq's sockets, in one run over loopback:
//! `cargo run --release --example handles_bench`. Each figure is the median of some rounds; the two take turns.

use std::thread;
use std::time::{Duration, Instant};

use zmio::{Dealer, Message, Router};

const ROUNDS: usize = 7;
const ROUND_TRIPS: u32 = 20_000;
const MESSAGES: u32 = 1_000_000;
const OCTETS: [usize; 3] = [20, 200, 2_000];

fn main() {
    let trips: Vec<_> = (0..ROUNDS).map(|_| [ours::round_trips(), libzmq::round_trips()]).collect();
    let [ours, libzmq] = medians(&trips).map(|time| time.as_secs_f64() * 1e6 / f64::from(ROUND_TRIPS));
    println!("round trip of 20 octets, us:           zmio {ours:>8.1}  libzmq {libzmq:>8.1}");
    for octets in OCTETS {
        let messages = MESSAGES / (octets / 200 + 1) as u32;
        let flows: Vec<_> =
            (0..ROUNDS).map(|_| [ours::flow(octets, messages), libzmq::flow(octets, messages)]).collect();
        let [ours, libzmq] = medians(&flows).map(|time| f64::from(messages) / time.as_secs_f64() / 1e6);
        println!("messages of {octets:>4} octets, million per s:  zmio {ours:>8.2}  libzmq {libzmq:>8.2}");
    }
}

fn medians(rounds: &[[Duration; 2]]) -> [Duration; 2] {
    [0, 1].map(|side| {
        let mut times: Vec<_> = rounds.iter().map(|round| round[side]).collect();
        times.sort();
        times[times.len() / 2]
    })
}

mod ours {
    use super::*;

    fn pair() -> (Router, Dealer) {
        let router = Router::bind("tcp://127.0.0.1:0").expect("a free port");
        let endpoint = router.local_endpoints().expect("it is open")[0].to_string();
        (router, Dealer::connect(&endpoint).expect("an endpoint"))
    }

    pub(super) fn round_trips() -> Duration {
        let (router, dealer) = pair();
        let server = router.clone();
        let echo =
            thread::spawn(move || server.iter().for_each(|(from, message)| server.send(&from, message).unwrap()));
        let message = Message::from(vec![7; 20]);
        let ask = || {
            dealer.send(message.clone()).expect("it is open");
            dealer.recv().expect("an answer")
        };
        ask();
        let start = Instant::now();
        (0..ROUND_TRIPS).for_each(|_| drop(ask()));
        let time = start.elapsed();
        router.close(None).expect("it works");
        echo.join().expect("it works");
        time
    }

    pub(super) fn flow(octets: usize, messages: u32) -> Duration {
        let (router, dealer) = pair();
        let body = vec![7; octets];
        dealer.send("ready").expect("it is open");
        router.recv().expect("it comes");
        let start = Instant::now();
        // Each is made anew, as libzmq does.
        let sending = thread::spawn(move || {
            (0..messages).for_each(|_| dealer.send(&body[..]).expect("it is open"));
            dealer
        });
        (0..messages).for_each(|_| drop(router.recv().expect("each comes")));
        let time = start.elapsed();
        drop(sending.join().expect("it works"));
        time
    }
}

mod libzmq {
    use super::*;

    fn pair() -> (zmq::Socket, zmq::Socket) {
        let context = zmq::Context::new();
        let router = context.socket(zmq::ROUTER).expect("a socket");
        router.bind("tcp://127.0.0.1:*").expect("a free port");
        let dealer = zmq::Context::new().socket(zmq::DEALER).expect("a socket");
        let endpoint = router.get_last_endpoint().expect("an option").expect("ASCII");
        dealer.connect(&endpoint).expect("an endpoint");
        (router, dealer)
    }

    pub(super) fn round_trips() -> Duration {
        let (router, dealer) = pair();
        let echo = thread::spawn(move || {
            for _ in 0..=ROUND_TRIPS {
                let frames = router.recv_multipart(0).expect("each comes");
                router.send_multipart(frames, 0).expect("it is there");
            }
        });
        let ask = || {
            dealer.send(&[7; 20][..], 0).expect("it is open");
            dealer.recv_bytes(0).expect("an answer")
        };
        ask();
        let start = Instant::now();
        (0..ROUND_TRIPS).for_each(|_| drop(ask()));
        let time = start.elapsed();
        echo.join().expect("it works");
        time
    }

    pub(super) fn flow(octets: usize, messages: u32) -> Duration {
        let (router, dealer) = pair();
        let body = vec![7; octets];
        let receive = || {
            router.recv_msg(0).expect("an identity");
            router.recv_msg(0).expect("a body")
        };
        dealer.send("ready", 0).expect("it is open");
        receive();
        let start = Instant::now();
        let sending = thread::spawn(move || {
            (0..messages).for_each(|_| dealer.send(&body[..], 0).expect("it is open"));
            dealer
        });
        (0..messages).for_each(|_| drop(receive()));
        let time = start.elapsed();
        drop(sending.join().expect("it works"));
        time
    }
}
