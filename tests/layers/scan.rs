//! Follows every path of a source to the module that it ends in.

use crate::{LAYERS, Layer, Source};

/// What is against the layers, as `file:line: what`.
pub(crate) fn faults(sources: &[Source]) -> Vec<String> {
    let mut test_files: Vec<Vec<String>> = Vec::new();
    for source in sources {
        let mut scan = Scan::new(source, false);
        scan.run();
        test_files.append(&mut scan.test_files);
    }

    let mut faults = Vec::new();
    for source in sources {
        let in_test = test_files.iter().any(|test| source.module.starts_with(test));
        let mut scan = Scan::new(source, in_test);
        scan.run();
        faults.append(&mut scan.faults);
    }
    faults
}

/// One pass over one file.
struct Scan<'a> {
    source: &'a Source,
    layer: Option<&'a Layer>,
    /// The inline modules around the present place.
    scopes: Vec<Scope>,
    /// How many braces are open.
    depth: usize,
    /// Whether the whole file is a unit test.
    in_test: bool,
    /// The modules declared as `#[cfg(test)] mod name;`.
    test_files: Vec<Vec<String>>,
    faults: Vec<String>,
}

struct Scope {
    name: String,
    depth: usize,
    test: bool,
}

impl<'a> Scan<'a> {
    fn new(source: &'a Source, in_test: bool) -> Scan<'a> {
        let layer = LAYERS.iter().find(|layer| source.module.first().is_some_and(|first| first == layer.name));
        Scan { source, layer, scopes: Vec::new(), depth: 0, in_test, test_files: Vec::new(), faults: Vec::new() }
    }

    fn run(&mut self) {
        if self.layer.is_none() && !self.source.module.is_empty() {
            self.fault(0, format!("`{}` is no layer", self.source.module[0]));
            return;
        }
        // `#[cfg(test)]` holds for the `mod` that follows it, past other attributes and its visibility.
        let mut test_attribute = false;
        let mut attribute_end = 0;
        let mut at = 0;
        while at < self.source.tokens.len() {
            let in_attribute = at < attribute_end;
            match self.text(at) {
                "#" if !in_attribute && ["[", "!"].contains(&self.text(at + 1)) => {
                    attribute_end = self.end_of_attribute(at);
                    test_attribute |= self.is_cfg_test(at);
                    let mut names = (at + 2..attribute_end).filter(|at| self.text(at + 1) == "=");
                    let moves = ["path", "cfg_attr"].contains(&self.text(at + 2));
                    if moves && names.any(|at| self.text(at) == "path") {
                        self.fault(at, "`#[path]` puts a file where this test cannot follow".into());
                    }
                }
                "pub" if self.text(at + 1) == "(" && (self.text(at + 2) == "in" || self.text(at + 3) == ")") => {
                    // A visibility names modules without importing from them.
                    while !["", ")"].contains(&self.text(at)) {
                        at += 1;
                    }
                }
                "pub" => {}
                "mod" if self.text(at + 2) == "{" => {
                    let name = self.text(at + 1).into();
                    self.scopes.push(Scope { name, depth: self.depth, test: test_attribute });
                    test_attribute = false;
                }
                "mod" if self.text(at + 2) == ";" => {
                    if test_attribute {
                        let mut path = self.module();
                        path.push(self.text(at + 1).into());
                        self.test_files.push(path);
                    }
                    test_attribute = false;
                }
                "{" => self.depth += 1,
                "}" => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.scopes.last().is_some_and(|scope| scope.depth == self.depth) {
                        self.scopes.pop();
                    }
                }
                "include" if self.text(at + 1) == "!" => {
                    self.fault(at, "`include!` brings in what this test does not read".into());
                }
                "crate" if self.text_before(at) == "extern" && self.text(at + 1) == "self" => {
                    self.fault(at, "the crate gets another name, which hides where a path goes".into());
                }
                "crate" | "super" if ["::", "as"].contains(&self.text(at + 1)) => {
                    at = self.follow(at);
                    continue;
                }
                "self" if self.text(at + 1) == "::" => {
                    at = self.follow(at);
                    continue;
                }
                _ if !in_attribute => test_attribute = false,
                _ => {}
            }
            self.check_name(at);
            at += 1;
        }
    }

    /// Judges all that the path at `at` leads to; gives where it ends.
    fn follow(&mut self, at: usize) -> usize {
        let mut ends = Vec::new();
        let next = self.tree(at, Some(self.module()), &mut ends);
        for (at, end) in ends {
            self.check_path(at, end);
        }
        next
    }

    /// One path or tree of paths below `base`, as far as modules can matter. `None` is above the root.
    fn tree(&self, at: usize, base: Option<Vec<String>>, ends: &mut Vec<(usize, Option<Vec<String>>)>) -> usize {
        let below = match self.text(at) {
            "{" => {
                let mut at = at + 1;
                while !["}", ""].contains(&self.text(at)) {
                    at = self.tree(at, base.clone(), ends);
                    // Past an alias, to the next branch.
                    while ![",", "}", ""].contains(&self.text(at)) {
                        at += 1;
                    }
                    at += usize::from(self.text(at) == ",");
                }
                return at + 1;
            }
            "crate" => Some(Vec::new()),
            "self" => base,
            "super" => base.and_then(|mut path| path.pop().map(|_| path)),
            name if name == "*" || name.starts_with(|first: char| first.is_alphabetic() || first == '_') => {
                base.map(|mut path| {
                    path.push(name.into());
                    path
                })
            }
            _ => {
                ends.push((at, base));
                return at;
            }
        };
        match self.text(at + 1) {
            "::" if self.text(at + 2) != "<" => self.tree(at + 2, below, ends),
            _ => {
                ends.push((at, below));
                at + 1
            }
        }
    }

    fn check_path(&mut self, at: usize, path: Option<Vec<String>>) {
        let Some(layer) = self.layer else { return };
        let fault = match path.as_deref() {
            None => "a path goes above the root of the crate".into(),
            Some([]) => format!("`{}` takes the root of the crate, which hides where its paths go", layer.name),
            Some([first, ..]) if first == layer.name || layer.may_import.contains(&first.as_str()) => return,
            Some([first, ..]) if LAYERS.iter().any(|other| other.name == first) => {
                format!("`{}` imports `{first}`; it may import {:?}", layer.name, layer.may_import)
            }
            Some([first, ..]) => {
                format!("`{}` takes `{first}` from the root of the crate; name the layer that it is of", layer.name)
            }
        };
        self.fault(at, fault);
    }

    /// A name that begins a path or stands alone; `core::std` would be none of ours.
    fn check_name(&mut self, at: usize) {
        let Some(layer) = self.layer else { return };
        let name = self.text(at);
        let within_path = self.text_before(at) == "::" && at >= 2 && is_name(self.text(at - 2));
        // Types of time are what they are wherever they are taken from.
        let is_type = name.starts_with(char::is_uppercase);
        if !layer.may_not_name.contains(&name) || (within_path && !is_type) || self.text_before(at) == "." {
            return;
        }
        let in_test = self.in_test || self.scopes.iter().any(|scope| scope.test);
        if !(in_test && name == "std") {
            self.fault(at, format!("`{}` names `{name}`, which has no place in it", layer.name));
        }
    }

    fn module(&self) -> Vec<String> {
        let inline = self.scopes.iter().map(|scope| scope.name.clone());
        self.source.module.iter().cloned().chain(inline).collect()
    }

    fn end_of_attribute(&self, at: usize) -> usize {
        let mut open = 0;
        for at in at..self.source.tokens.len() {
            match self.text(at) {
                "[" => open += 1,
                "]" if open == 1 => return at + 1,
                "]" => open -= 1,
                _ => {}
            }
        }
        self.source.tokens.len()
    }

    /// Whether what has this attribute is for tests and nothing else.
    fn is_cfg_test(&self, at: usize) -> bool {
        let is = |expected: &[&str]| expected.iter().enumerate().all(|(i, text)| self.text(at + i) == *text);
        is(&["#", "[", "cfg", "(", "test", ")"]) || is(&["#", "[", "cfg", "(", "all", "(", "test", ","])
    }

    /// Empty beyond the end.
    fn text(&self, at: usize) -> &'a str {
        self.source.tokens.get(at).map_or("", |token| &token.text)
    }

    fn text_before(&self, at: usize) -> &'a str {
        at.checked_sub(1).map_or("", |before| self.text(before))
    }

    fn fault(&mut self, at: usize, what: String) {
        let line = self.source.tokens.get(at).map_or(0, |token| token.line);
        self.faults.push(format!("{}:{line}: {what}", self.source.file));
    }
}

/// A name that can stand before `::`, so no keyword after which a path may begin with `::`.
fn is_name(text: &str) -> bool {
    const KEYWORDS: &[&str] = &[
        "use", "return", "in", "as", "mut", "ref", "dyn", "impl", "where", "else", "match", "for", "if", "while",
        "let", "const", "static", "move", "break", "async", "unsafe", "pub", "await",
    ];
    text.starts_with(|first: char| first.is_alphabetic() || first == '_') && !KEYWORDS.contains(&text)
}
