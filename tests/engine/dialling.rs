//! Dialling: names, refusals, and coming back.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};
use zmio::net::{ConnectError, EndpointError};
use zmio::socket::DialError;
use zmio::{Cause, Endpoint, Event, Message, Options};

use crate::turns::Loop;

/// A port that is taken and where nobody listens. A listener that may share it can still bind it.
fn silent_port() -> (Socket, Endpoint) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    #[cfg(unix)]
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let endpoint = Endpoint::from(socket.local_addr().unwrap().as_socket().unwrap());
    (socket, endpoint)
}

fn dial_errors(net: &Loop) -> Vec<DialError> {
    net.dealers[0].pick(|event| match event {
        Event::Retrying { cause, .. } => match &**cause {
            Cause::Dial(error) => Some(error.clone()),
            _ => None,
        },
        _ => None,
    })
}

#[test]
fn a_name_is_looked_up_and_each_of_its_addresses_tried() {
    // On most machines `localhost` is ::1 first, where nobody listens here.
    for bound in ["tcp://127.0.0.1:0", "tcp://*:0"] {
        let mut net = Loop::new();
        let endpoint = net.router(Options::new()).bind(bound);
        let named = format!("tcp://localhost:{}", endpoint.port()).parse().unwrap();
        let dealer = net.dealer(Options::new());
        dealer.connect(&named);
        dealer.engine.socket_mut().send(Message::from("hello")).unwrap();
        net.until("it is heard", |net| !net.routers[0].messages().is_empty());
        assert_eq!(dial_errors(&net), []);
    }
}

#[test]
fn many_names_are_looked_up_at_once() {
    let mut net = Loop::new();
    let endpoint = net.router(Options::new()).bind("tcp://127.0.0.1:0");
    let named = format!("tcp://localhost:{}", endpoint.port()).parse().unwrap();
    let dealer = net.dealer(Options::new());
    for _ in 0..50 {
        dealer.connect(&named);
    }
    net.until("all are connected", |net| net.dealers[0].connected().len() == 50);
}

#[test]
fn a_name_without_an_address_is_reported_and_does_not_hold_up_others() {
    let mut net = Loop::new();
    let endpoint = net.router(Options::new()).bind("tcp://127.0.0.1:0");
    let dealer = net.dealer(Options::new());
    // RFC 2606 reserves the top-level domain for this.
    dealer.connect(&"tcp://nobody.invalid:5557".parse().unwrap());
    dealer.connect(&endpoint);
    net.until("the other is connected", |net| !net.dealers[0].connected().is_empty());
    net.until("it is reported", |net| !dial_errors(net).is_empty());
    assert!(matches!(dial_errors(&net)[0], DialError::Unresolved(_)), "{:?}", dial_errors(&net));
}

#[test]
fn a_refused_dial_is_reported_and_succeeds_once_somebody_listens() {
    let mut net = Loop::new();
    let (reserved, endpoint) = silent_port();
    let dealer = net.dealer(Options::new());
    dealer.connect(&endpoint);
    dealer.engine.socket_mut().send(Message::from("at last")).unwrap();
    net.until("it is reported", |net| dial_errors(net).len() == 2);
    assert_eq!(dial_errors(&net)[0], DialError::Refused);
    if cfg!(not(unix)) {
        drop(reserved);
    }
    net.router(Options::new()).bind(&endpoint.to_string());
    net.until("it is heard", |net| !net.routers[0].messages().is_empty());
}

#[test]
fn a_dealer_comes_back_to_a_server_that_restarts() {
    let mut net = Loop::new();
    let endpoint = net.router(Options::new()).bind("tcp://127.0.0.1:0");
    net.dealer(Options::new()).connect(&endpoint);
    for times in 1..=3 {
        net.until("connected", |net| net.dealers[0].connected().len() == times);
        net.routers.clear();
        net.router(Options::new()).bind(&endpoint.to_string());
    }
}

#[test]
fn what_can_only_be_bound_is_not_dialled() {
    let mut net = Loop::new();
    let dealer = net.dealer(Options::new());
    for (text, expected) in [
        ("tcp://*:5557", EndpointError::AnyHost),
        ("tcp://localhost:0", EndpointError::AnyPort),
        ("tcp://127.0.0.1:*", EndpointError::AnyPort),
    ] {
        let error = dealer.engine.connect(&text.parse().unwrap()).unwrap_err();
        assert!(matches!(error, ConnectError::Endpoint(found) if found == expected), "{text}");
    }
}

#[test]
fn a_target_that_is_no_endpoint_is_a_failed_dial() {
    let mut net = Loop::new();
    let dealer = net.dealer(Options::new());
    let now = dealer.engine.now();
    dealer.engine.socket_mut().connect(now, "ipc:///tmp/x");
    net.until("it is reported", |net| !dial_errors(net).is_empty());
    let DialError::Failed(reason) = &dial_errors(&net)[0] else { panic!("{:?}", dial_errors(&net)) };
    assert!(reason.contains("`ipc` is not supported"), "{reason}");
}

#[test]
fn a_dial_is_given_up_at_a_disconnect() {
    let mut net = Loop::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let dealer = net.dealer(Options::new());
    for host in ["127.0.0.1", "localhost"] {
        let peer = dealer.connect(&format!("tcp://{host}:{port}").parse().unwrap());
        dealer.engine.flush();
        dealer.engine.disconnect(peer);
        dealer.engine.flush();
    }
    net.until_quiet();
    assert_eq!(net.dealers[0].engine.timeout(), None);
    // What was dialled has ended, and the name was not dialled once it was found.
    let (mut dialled, _) = listener.accept().unwrap();
    assert_eq!(dialled.read(&mut [0]).unwrap_or_default(), 0);
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}
