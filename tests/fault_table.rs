//! The table of faults in `tests/README.md` names tests that exist, and no entry is missing from it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// E54 and the gaps between the sections are not used.
fn entries() -> BTreeSet<u32> {
    (1..=16).chain(20..=28).chain(30..=35).chain(40..=53).chain([55]).collect()
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// The cells of each row of the table of faults, by the number of the entry.
fn rows(table: &str) -> Vec<(u32, Vec<&str>)> {
    let row = |line: &'_ str| -> Option<u32> { line.strip_prefix("| E")?.split(' ').next()?.parse().ok() };
    table.lines().filter_map(|line| Some((row(line)?, line.trim_matches('|').split('|').collect()))).collect()
}

/// What is between backquotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Is `source` the text of a file with that test, given as a function or by a macro that makes one of `table => name`?
fn has_test(source: &str, name: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let after = |before: &str| {
        let whole = format!("{before}{name}");
        source.match_indices(&whole).any(|(at, found)| ends(&source[at + found.len()..]))
    };
    let by_macro = source.lines().filter_map(|line| line.trim().split_once(" => "));
    after("fn ") && source.contains("#[test]")
        || source.contains("macro_rules!")
            && by_macro.into_iter().any(|(_, names)| names.trim_end_matches(';').split(", ").any(|each| each == name))
}

/// What is wrong with the table.
fn faults_of(table: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for (number, cells) in rows(table) {
        if !seen.insert(number) {
            faults.push(format!("E{number} is there twice"));
        }
        let [_, _, outcome, named] = cells[..] else {
            faults.push(format!("E{number} has {} cells", cells.len()));
            continue;
        };
        if outcome.trim().is_empty() || quoted(named).next().is_none() && named.trim() != "not yet" {
            faults.push(format!("E{number} has neither a test nor \"not yet\""));
        }
        for test in quoted(named) {
            let exists = test
                .split_once("::")
                .is_some_and(|(file, name)| read(file).is_some_and(|source| has_test(&source, name)));
            if !exists {
                faults.push(format!("E{number} names {test}, which is not there"));
            }
        }
    }
    faults.extend(entries().symmetric_difference(&seen).map(|number| format!("E{number} is missing, or is no entry")));
    faults
}

#[test]
fn every_test_in_the_table_of_faults_exists_and_every_entry_is_there() {
    let table = fs::read_to_string(tests().join("README.md")).expect("the table");
    let faults = faults_of(&table, |file| fs::read_to_string(tests().join(file)).ok());
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_table_that_has_rotted_is_found_out() {
    let source = "#[test]\nfn a_test() {}\nmacro_rules! m {}\nm! {\n    table => by_macro, the_other;\n}";
    let read = |file: &str| (file == "file.rs").then(|| source.to_owned());
    let all: String = entries().iter().map(|n| format!("| E{n} | fault | outcome | `file.rs::a_test` |\n")).collect();
    assert_eq!(faults_of(&all, read), [""; 0]);
    for good in ["`file.rs::by_macro`", "`file.rs::the_other` `file.rs::a_test`", "not yet"] {
        assert_eq!(faults_of(&all.replacen("`file.rs::a_test`", good, 1), read), [""; 0], "{good}");
    }
    for bad in ["`file.rs::a_tes`", "`file.rs::a_test_`", "`other.rs::a_test`", "`a_test`", "", "`file.rs::table`"] {
        assert_eq!(faults_of(&all.replacen("`file.rs::a_test`", bad, 1), read).len(), 1, "{bad}");
    }
    assert_eq!(
        faults_of(&all.replace("| E7 |", "| E8 |"), read),
        ["E8 is there twice", "E7 is missing, or is no entry"]
    );
    assert_eq!(faults_of(&all.replace("| E7 |", "| E54 |"), read).len(), 2);
}
