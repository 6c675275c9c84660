//! Every input that the fuzz targets have kept, once more: each was a way into the code, or a finding.
//!
//! `fuzz/README.md` says how inputs come to be here.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

#[allow(unreachable_pub, reason = "it is a crate of its own too")]
#[path = "../fuzz/src/lib.rs"]
mod fuzz;

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries.map(|entry| entry.expect("readable").file_name().into_string().expect("a plain name")).collect()
}

#[test]
fn every_target_passes_its_corpus() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in fuzz::TARGETS {
        let directory = corpora.join(name);
        let inputs = names(&directory);
        assert!(!inputs.is_empty(), "{} is empty", directory.display());
        for input in inputs {
            let octets = fs::read(directory.join(&input)).expect("readable");
            assert!(catch_unwind(|| target(&octets)).is_ok(), "{name} fails by fuzz/corpus/{name}/{input}");
        }
    }
}

#[test]
fn every_target_has_a_name_a_program_and_a_corpus() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let targets: BTreeSet<String> = fuzz::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&fuzz.join("corpus")), targets);
    let programs = names(&fuzz.join("fuzz_targets"));
    assert_eq!(programs, targets.iter().map(|name| format!("{name}.rs")).collect());
}
