//! The layers of the crate, and the only direction an import may take:
//!
//! ```text
//! time rand  <-  wire  <-  message  <-  security  <-  conn  <-  socket  <-  relay
//!                                                                  ^------  net (std)
//! ```
//!
//! This reads the sources and follows every `crate::`, `super::` and `self::` path to the module that it ends in,
//! wherever it stands: in a `use`, in code, in an attribute, in a macro.
//!
//! - A path reaches the own layer or one that the table below allows.
//! - No path goes to the root: `crate::Message` would hide from which layer it is taken. Layers name the module.
//! - Below `net` nothing names `std`, `mio` or `socket2`, and `wire` names no time.
//! - What cannot be followed is refused: `#[path]`, `include!`, other names for the crate or its root.
//!
//! Looser are: unit tests (a `#[cfg(test)] mod`, inline or as a file), which may use `std`, but import in the same
//! directions; examples in comments, which are users of the crate like any other; `src/bin`, for the same reason; and
//! `lib.rs`, which is above all layers.

mod scan;
mod tokens;

use std::fs;
use std::path::Path;

use scan::faults;
use tokens::{Token, tokens};

struct Layer {
    name: &'static str,
    may_import: &'static [&'static str],
    may_not_name: &'static [&'static str],
}

const NOT_IN_CORE: &[&str] = &["std", "mio", "socket2"];

const LAYERS: &[Layer] = &[
    Layer { name: "time", may_import: &[], may_not_name: NOT_IN_CORE },
    Layer { name: "rand", may_import: &[], may_not_name: NOT_IN_CORE },
    Layer { name: "wire", may_import: &[], may_not_name: &["std", "mio", "socket2", "Instant", "Duration"] },
    Layer { name: "message", may_import: &["time", "rand", "wire"], may_not_name: NOT_IN_CORE },
    Layer { name: "security", may_import: &["time", "rand", "wire", "message"], may_not_name: NOT_IN_CORE },
    Layer { name: "conn", may_import: &["time", "rand", "wire", "message", "security"], may_not_name: NOT_IN_CORE },
    Layer {
        name: "socket",
        may_import: &["time", "rand", "wire", "message", "security", "conn"],
        may_not_name: NOT_IN_CORE,
    },
    Layer {
        name: "relay",
        may_import: &["time", "rand", "wire", "message", "security", "conn", "socket"],
        may_not_name: NOT_IN_CORE,
    },
    Layer {
        name: "net",
        may_import: &["time", "rand", "wire", "message", "security", "conn", "socket"],
        may_not_name: &[],
    },
];

#[test]
fn imports_take_the_one_direction_of_the_design() {
    let sources = sources();
    let faults = faults(&sources);
    assert!(faults.is_empty(), "{} imports against the layers:\n{}\n", faults.len(), faults.join("\n"));
}

#[test]
fn every_module_of_the_crate_was_read_and_is_a_layer() {
    let sources = sources();
    let root = sources.iter().find(|source| source.module.is_empty()).expect("src/lib.rs");
    let declared: Vec<&str> = modules_declared(&root.tokens);
    assert!(declared.contains(&"wire"), "{declared:?}");
    for name in &declared {
        assert!(LAYERS.iter().any(|layer| layer.name == *name), "`{name}` is no layer: add it to the table or move it");
        let files = sources.iter().filter(|source| source.module.first().is_some_and(|first| first == name)).count();
        assert_ne!(files, 0, "`{name}` was not found under src");
    }
    for Source { file, module, .. } in &sources {
        let belongs = module.first().is_none_or(|layer| declared.contains(&layer.as_str()));
        assert!(belongs, "{file} belongs to no module of lib.rs");
    }
}

#[test]
fn the_crate_is_no_std_and_asks_for_std_only_behind_a_feature() {
    let sources = sources();
    let root = &sources.iter().find(|source| source.module.is_empty()).expect("src/lib.rs").tokens;
    let texts: Vec<&str> = root.iter().map(|token| token.text.as_str()).collect();
    let no_std = ["#", "!", "[", "no_std", "]"];
    assert!(texts.windows(no_std.len()).any(|window| window == no_std), "src/lib.rs: #![no_std] without a condition");

    for (at, _) in texts.windows(3).enumerate().filter(|(_, window)| *window == ["extern", "crate", "std"]) {
        let attribute = texts[..at].iter().rposition(|text| *text == "#").map_or(&[][..], |hash| &texts[hash..at]);
        let conditional = attribute.starts_with(&["#", "[", "cfg"]) && attribute.ends_with(&["]"]);
        let named = attribute.contains(&"\"net\"") || attribute.contains(&"test");
        assert!(conditional && named, "src/lib.rs:{}: `extern crate std` whatever the features", root[at].line);
    }
}

struct Source {
    /// As shown in faults.
    file: String,
    /// The path of its module below the root; empty for `lib.rs`.
    module: Vec<String>,
    tokens: Vec<Token>,
}

impl Source {
    fn new(file: &str, text: &str) -> Source {
        let inner = file.strip_prefix("src/").and_then(|path| path.strip_suffix(".rs")).expect("a source below src");
        let mut module: Vec<String> = inner.split('/').map(String::from).collect();
        if module == ["lib"] || module.last().is_some_and(|last| last == "mod") {
            module.pop();
        }
        Source { file: file.into(), module, tokens: tokens(text) }
    }
}

/// All that is below `src`, without the programs.
fn sources() -> Vec<Source> {
    fn visit(directory: &Path, sources: &mut Vec<Source>) {
        let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        for entry in entries {
            let path = entry.expect("an entry of a directory").path();
            let root = Path::new(env!("CARGO_MANIFEST_DIR"));
            let relative = path.strip_prefix(root).expect("below the root");
            let file = relative.to_str().expect("names in Unicode").replace('\\', "/");
            if path.is_dir() {
                if file != "src/bin" {
                    visit(&path, sources);
                }
            } else if file.ends_with(".rs") {
                let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
                sources.push(Source::new(&file, &text));
            }
        }
    }
    let mut sources = Vec::new();
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut sources);
    sources.sort_by(|one, other| one.file.cmp(&other.file));
    sources
}

/// The names of all `mod name;`.
fn modules_declared(tokens: &[Token]) -> Vec<&str> {
    tokens.windows(3).filter(|window| window[0].text == "mod" && window[2].text == ";").map(|w| &*w[1].text).collect()
}

/// A test that finds nothing proves nothing, so here is what it must find.
#[test]
fn whatever_goes_against_the_layers_is_found() {
    for (file, text, expected) in [
        ("src/wire/frame.rs", "use crate::conn::Limits;", "1: `wire` imports `conn`"),
        ("src/wire/frame.rs", "\n\nuse crate::message;", "3: `wire` imports `message`"),
        ("src/wire/frame.rs", "use crate::time::Instant;", "1: `wire` imports `time`"),
        ("src/wire/frame.rs", "use core::time::Duration;", "1: `wire` names `Duration`"),
        ("src/wire/frame.rs", "fn f(now: super::super::time::Instant) {}", "1: `wire` imports `time`"),
        ("src/wire/mod.rs", "use super::socket::PeerId;", "1: `wire` imports `socket`"),
        ("src/message.rs", "use crate::{wire::{Escaped,\n self}, socket::{PeerId}};", "2: `message` imports `socket`"),
        ("src/message.rs", "use {crate::wire, super::conn};", "1: `message` imports `conn`"),
        ("src/conn/mod.rs", "fn f() { let x = crate::relay::Relay::new(); }", "1: `conn` imports `relay`"),
        ("src/conn/mod.rs", "mod inner { use super::super::socket; }", "1: `conn` imports `socket`"),
        ("src/conn/mod.rs", "mod inner { } use super::socket;", "1: `conn` imports `socket`"),
        ("src/conn/mod.rs", "#[error(\"{}\", crate::net::f())] struct X;", "1: `conn` imports `net`"),
        ("src/conn/mod.rs", "macro_rules! m { () => { $crate::net::Engine } }", "1: `conn` imports `net`"),
        ("src/conn/mod.rs", "/* /* */ */ use crate /* */ :: // and\n net;", "2: `conn` imports `net`"),
        ("src/conn/mod.rs", "let c = '\"'; use crate::net; let d = '\"';", "1: `conn` imports `net`"),
        ("src/conn/mod.rs", "fn f<'a>(x: &'a u8) { crate::net::f(b'\\'') }", "1: `conn` imports `net`"),
        ("src/conn/mod.rs", "use crate::r#net::Engine;", "1: `conn` imports `net`"),
        ("src/conn/mod.rs", "struct X(pub (crate::net::Engine, u8));", "1: `conn` imports `net`"),
        ("src/conn/mod.rs", "#[cfg(test)] mod tests { use crate::socket; }", "1: `conn` imports `socket`"),
        ("src/relay.rs", "use crate::net::Engine;", "1: `relay` imports `net`"),
        ("src/net/engine.rs", "use crate::relay::Relay;", "1: `net` imports `relay`"),
        ("src/time.rs", "use crate::rand::Rng;", "1: `time` imports `rand`"),
        // The root hides directions.
        ("src/conn/mod.rs", "use crate::Message;", "1: `conn` takes `Message` from the root"),
        ("src/conn/mod.rs", "use super::Message;", "1: `conn` takes `Message` from the root"),
        ("src/conn/mod.rs", "use crate::{message, Instant};", "1: `conn` takes `Instant` from the root"),
        ("src/conn/send.rs", "use super::super::*;", "1: `conn` takes `*` from the root"),
        ("src/conn/send.rs", "use super::super as root;", "1: `conn` takes the root"),
        ("src/conn/send.rs", "use crate as root;", "1: `conn` takes the root"),
        ("src/conn/send.rs", "use crate::{self as root};", "1: `conn` takes the root"),
        ("src/conn/send.rs", "use super::super::super::x;", "1: a path goes above the root"),
        ("src/conn/send.rs", "extern crate self as zmio;", "1: the crate gets another name"),
        // What cannot be followed.
        ("src/conn/mod.rs", "#[path = \"../net/tcp.rs\"] mod tcp;", "1: `#[path]`"),
        ("src/conn/mod.rs", "#[cfg_attr(unix, path = \"../net/tcp.rs\")] mod tcp;", "1: `#[path]`"),
        ("src/conn/mod.rs", "include!(\"../net/tcp.rs\");", "1: `include!`"),
        ("src/utilities.rs", "", "0: `utilities` is no layer"),
        // The system.
        ("src/socket/mod.rs", "use std::vec::Vec;", "1: `socket` names `std`"),
        ("src/socket/mod.rs", "extern crate std;", "1: `socket` names `std`"),
        ("src/socket/mod.rs", "use {core::fmt, std::io};", "1: `socket` names `std`"),
        ("src/socket/mod.rs", "impl X for ::std::io::Error {}", "1: `socket` names `std`"),
        ("src/relay.rs", "let poll = mio::Poll::new();", "1: `relay` names `mio`"),
        ("src/conn/mod.rs", "#[cfg(test)] use std::vec;", "1: `conn` names `std`"),
        ("src/conn/mod.rs", "#[cfg(not(test))] mod x { use std::vec; }", "1: `conn` names `std`"),
        ("src/conn/mod.rs", "#[cfg(test)] mod tests {} mod x { use std::vec; }", "1: `conn` names `std`"),
    ] {
        let found = faults(&[Source::new(file, text)]);
        let expected = format!("{file}:{expected}");
        assert!(matches!(&found[..], [one] if one.starts_with(&expected)), "{text}\n{expected}\n{found:?}");
    }
}

#[test]
fn whatever_keeps_to_the_layers_is_left_alone() {
    for (file, text) in [
        ("src/wire/frame.rs", "use super::{Escaped, encode::{self, frame as f}};"),
        ("src/wire/frame.rs", "mod tests { use super::*; use super::super::Command; }"),
        ("src/wire/frame.rs", "use crate::wire::Escaped; use self::inner::X;"),
        ("src/wire/mod.rs", "pub(crate) use x::Y; pub(super) fn f() {} pub(in crate::wire) fn g() {}"),
        ("src/wire/mod.rs", "/// ```\n/// use zmio::net::Engine; use std::io; use crate::net;\n/// ```\nfn f() {}"),
        ("src/wire/mod.rs", "// use crate::net;\n/* use std::io; /* */ use crate::net; */"),
        ("src/wire/mod.rs", r##"let text = "use crate::net;\" use std::io;"; let raw = r#"" use crate::net;"#;"##),
        ("src/wire/mod.rs", "let x = self.time; let y = 'a'; let z: &'static str;"),
        ("src/conn/mod.rs", "use core::time::Duration; use crate::time::Instant;"),
        ("src/socket/router.rs", "use crate::{conn, message::Message, rand::Rng, time, wire::{self, Escaped}};"),
        ("src/relay.rs", "use crate::socket::{Router, Socket}; let x = crate::conn::f::<u8>();"),
        ("src/net/engine.rs", "use std::io; use mio::Poll; use crate::socket::Socket; use super::tcp;"),
        ("src/conn/mod.rs", "#[cfg(test)] mod tests { use std::vec::Vec; use super::*; }"),
        (
            "src/conn/mod.rs",
            "#[cfg(all(test, feature = \"net\"))] #[rustfmt::skip] pub(crate) mod tests { use std::io; }",
        ),
        ("src/lib.rs", "pub use conn::Limits; extern crate std; mod net;"),
    ] {
        let found = faults(&[Source::new(file, text)]);
        assert!(found.is_empty(), "{text}\n{found:?}");
    }
}

#[test]
fn a_test_module_in_a_file_of_its_own_may_use_std() {
    let tests = || Source::new("src/conn/send/tests.rs", "use std::vec::Vec; use super::*;");
    let declared = Source::new("src/conn/send.rs", "#[cfg(test)]\nmod tests;");
    assert_eq!(faults(&[tests(), declared]), [""; 0]);
    let declared = Source::new("src/conn/send.rs", "mod tests;");
    assert_eq!(faults(&[tests(), declared]).len(), 1, "without the attribute it is code like any other");
}
