//! Binding, accepting, and running short.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use zmio::net::{BindError, TcpOptions};
use zmio::socket::Address;
use zmio::{Endpoint, Event, Message, Options};

use crate::turns::{End, Loop};

#[test]
fn port_zero_gives_a_port_that_can_be_dialled() {
    for text in ["tcp://127.0.0.1:0", "tcp://127.0.0.1:*"] {
        let mut net = Loop::new();
        let endpoint = net.router(Options::new()).bind(text);
        assert_ne!(endpoint.port(), 0);
        net.dealer(Options::new()).connect(&endpoint);
        net.until("connected", |net| !net.dealers[0].connected().is_empty());
    }
}

#[test]
fn a_star_listens_on_ipv4_and_ipv6_and_shows_each_as_what_it_is() {
    let mut net = Loop::new();
    let endpoint = net.router(Options::new()).bind("tcp://*:*");
    for host in ["127.0.0.1", "[::1]"] {
        let endpoint = format!("tcp://{host}:{}", endpoint.port()).parse().unwrap();
        net.dealer(Options::new()).connect(&endpoint);
    }
    net.until("both are connected", |net| net.routers[0].connected().len() == 2);
    let mut addresses = net.routers[0].pick(|event| match event {
        Event::Connected { info, .. } => match info.address {
            Address::Ip(address) => Some(address.ip()),
            _ => None,
        },
        _ => None,
    });
    addresses.sort();
    assert_eq!(addresses, [IpAddr::from(Ipv4Addr::LOCALHOST), "::1".parse().unwrap()]);
}

#[test]
fn an_ipv6_endpoint_is_bound_and_dialled() {
    let mut net = Loop::new();
    let endpoint = net.router(Options::new()).bind("tcp://[::1]:0");
    assert!(endpoint.to_string().starts_with("tcp://[::1]:"), "{endpoint}");
    net.dealer(Options::new()).connect(&endpoint);
    net.until("connected", |net| !net.dealers[0].connected().is_empty());
}

#[test]
fn an_address_in_use_is_named_with_the_reason() {
    let mut net = Loop::new();
    let endpoint = net.router(Options::new()).bind("tcp://127.0.0.1:0");
    let error = net.router(Options::new()).engine.bind(&endpoint).unwrap_err();
    assert!(matches!(error, BindError::System { .. }));
    let text = error.to_string();
    assert!(text.starts_with(&format!("cannot bind {endpoint}: ")), "{text}");
    assert!(text.to_lowercase().contains("in use"), "{text}");
}

#[test]
fn a_socket_listens_at_many_endpoints_at_once() {
    let mut net = Loop::new();
    let endpoints: Vec<Endpoint> = {
        let router = net.router(Options::new());
        (0..20).map(|_| router.bind("tcp://127.0.0.1:0")).collect()
    };
    let dealer = net.dealer(Options::new());
    for endpoint in &endpoints {
        dealer.connect(endpoint);
    }
    net.until("all are connected", |net| net.dealers[0].connected().len() == 20);
    let local = net.routers[0].engine.local_endpoints();
    assert!(local.eq(&endpoints));
}

#[test]
fn unbind_refuses_new_connections_and_keeps_the_old() {
    let mut net = Loop::new();
    let endpoint = net.router(Options::new()).bind("tcp://127.0.0.1:0");
    net.dealer(Options::new()).connect(&endpoint);
    net.until("connected", |net| !net.routers[0].connected().is_empty());

    net.routers[0].engine.unbind(&endpoint).unwrap();
    assert_eq!(net.routers[0].engine.local_endpoints().count(), 0);
    let error = net.routers[0].engine.unbind(&endpoint).unwrap_err();
    assert_eq!(error.to_string(), format!("{endpoint} is not bound"));

    net.raw(&endpoint);
    net.until("the newcomer is refused", |net| net.raws[0].end == Some(End::Reset));
    net.dealers[0].engine.socket_mut().send(Message::from("still here")).unwrap();
    net.until("the old one is heard", |net| !net.routers[0].messages().is_empty());
}

#[test]
fn engines_share_a_poll_by_their_token_ranges() {
    let mut net = Loop::new();
    let first = net.router(Options::new()).bind("tcp://127.0.0.1:0");
    let second = net.router(Options::new()).bind("tcp://127.0.0.1:0");
    for (endpoint, text) in [(first, "first"), (second, "second")] {
        let dealer = net.dealer(Options::new());
        dealer.connect(&endpoint);
        dealer.engine.socket_mut().send(Message::from(text)).unwrap();
    }
    net.until("both are heard", |net| net.routers.iter().all(|router| !router.messages().is_empty()));
    for (router, text) in net.routers.iter().zip(["first", "second"]) {
        let messages = router.messages();
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].1, text.as_bytes());
    }
}

#[test]
fn a_dropped_engine_leaves_its_tokens_and_its_port() {
    let mut net = Loop::new();
    let endpoint = net.router(Options::new()).bind("tcp://127.0.0.1:0");
    net.dealer(Options::new()).connect(&endpoint);
    net.until("connected", |net| !net.routers[0].connected().is_empty());
    net.routers.clear();
    net.until("its peer notices", |net| {
        !net.dealers[0].pick(|event| matches!(event, Event::Disconnected(_)).then_some(())).is_empty()
    });
    net.router(Options::new()).bind(&endpoint.to_string());
    net.until("its peer is back", |net| net.dealers[0].connected().len() == 2);
}

#[test]
fn used_up_tokens_stop_accepting_until_one_is_free() {
    let mut net = Loop::new();
    // One for the listener and two for connections.
    let endpoint = net.router_with(Options::new(), 3, TcpOptions::new()).bind("tcp://127.0.0.1:0");
    for _ in 0..3 {
        net.raw(&endpoint).greet("DEALER");
    }
    let complaints = |net: &Loop| {
        net.routers[0].pick(|event| match event {
            Event::AcceptFailed { reason } => Some(reason.to_string()),
            _ => None,
        })
    };
    net.until("two are connected and the shortage is told", |net| {
        net.routers[0].connected().len() == 2 && !complaints(net).is_empty()
    });
    let refused = net.routers[0].engine.connect(&endpoint).unwrap_err();
    assert_eq!(refused.to_string(), "the engine's token range is used up");
    let refused = net.routers[0].engine.bind(&"tcp://127.0.0.1:0".parse().unwrap());
    assert!(refused.unwrap_err().to_string().contains("token range"));

    let first = net.routers[0].connected()[0];
    net.routers[0].engine.disconnect(first);
    net.until("the third is connected", |net| net.routers[0].connected().len() == 3);
    assert_eq!(complaints(&net), ["the engine's token range is used up"]);
}

#[test]
fn more_dials_than_one_turn_accepts_are_all_accepted() {
    let mut net = Loop::new();
    let endpoint = net.router(Options::new()).bind("tcp://127.0.0.1:0");
    for _ in 0..200 {
        net.raw(&endpoint).greet("DEALER");
    }
    net.until("all are connected", |net| net.routers[0].connected().len() == 200);
}

#[test]
fn a_socket_that_has_enough_peers_leaves_the_others_waiting() {
    let mut net = Loop::new();
    let endpoint = net.router(Options::new().max_peers(Some(1))).bind("tcp://127.0.0.1:0");
    net.raw(&endpoint).greet("DEALER");
    net.until("one is connected", |net| net.routers[0].connected().len() == 1);
    net.raw(&endpoint).greet("DEALER");
    net.until_quiet();
    let refused = net.raws[1].end.is_some();
    let first = net.routers[0].connected()[0];
    net.routers[0].engine.disconnect(first);
    if refused {
        net.raw(&endpoint).greet("DEALER");
    }
    net.until("another is connected", |net| net.routers[0].connected().len() == 2);
}

/// The body of the test below, in a process that may open few files.
const FEW_FILES: &str = "ZMIO_TEST_FEW_FILES";

#[cfg(unix)]
#[test]
fn too_many_open_files_stop_accepting_without_spinning_until_one_is_closed() {
    use std::process::Command;

    if std::env::var_os(FEW_FILES).is_none() {
        // The limit is one of the process, so the test runs itself in another one.
        let name = "listening::too_many_open_files_stop_accepting_without_spinning_until_one_is_closed";
        let output = Command::new("sh")
            .args(["-c", "ulimit -n 40 && exec \"$0\" --exact \"$1\""])
            .arg(std::env::current_exe().unwrap())
            .arg(name)
            .env(FEW_FILES, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }

    let mut net = Loop::new();
    let endpoint = net.router(Options::new()).bind("tcp://127.0.0.1:0");
    let SocketAddr::V4(address) = endpoint.address().unwrap() else { panic!("not IPv4") };
    // Each of them takes two: its own and the accepted one.
    let mut clients = Vec::new();
    while let Ok(client) = std::net::TcpStream::connect(address) {
        clients.push(client);
    }
    clients.pop();
    net.until("the shortage is told", |net| {
        let told = |event: &Event| matches!(event, Event::AcceptFailed { .. }).then_some(());
        !net.routers[0].pick(told).is_empty()
    });
    let mut turns = 0;
    let pause = std::time::Instant::now();
    while pause.elapsed() < std::time::Duration::from_millis(500) {
        net.turn(std::time::Duration::from_millis(500));
        turns += 1;
    }
    assert!(turns < 30, "{turns} turns in half a second is spinning");

    // Those that stay were accepted first, and take two files each.
    clients.truncate(clients.len() / 4);
    net.until("those that left are gone", |net| {
        let gone = |event: &Event| matches!(event, Event::Rejected(_)).then_some(());
        !net.routers[0].pick(gone).is_empty()
    });
    net.raw(&endpoint).greet("DEALER");
    net.until("a newcomer is connected", |net| !net.routers[0].connected().is_empty());
}
