//! Just enough of Rust's lexical grammar to see code as the compiler does: comments are gone, and what stands in a
//! literal is no code.

pub(crate) struct Token {
    /// A name, `::`, a literal as it stands, or one other character.
    pub(crate) text: String,
    /// From 1.
    pub(crate) line: usize,
}

pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut cursor = Cursor { rest: source, line: 1 };
    let mut tokens = Vec::new();
    while let Some(next) = cursor.rest.chars().next() {
        let line = cursor.line;
        let text = match next {
            _ if next.is_whitespace() => {
                cursor.take(next.len_utf8());
                continue;
            }
            _ if cursor.rest.starts_with("//") => {
                cursor.take(cursor.rest.find('\n').unwrap_or(cursor.rest.len()));
                continue;
            }
            _ if cursor.rest.starts_with("/*") => {
                cursor.take_block_comment();
                continue;
            }
            _ if cursor.rest.starts_with("::") => cursor.take(2),
            _ if cursor.literal().is_some() => cursor.take(cursor.literal().unwrap_or(1)),
            '\'' => {
                // A lifetime or a label: no name of an item.
                cursor.take(1);
                cursor.take(cursor.name_length());
                continue;
            }
            _ if is_name_char(next) => {
                if cursor.rest.starts_with("r#") {
                    cursor.take(2);
                }
                cursor.take(cursor.name_length())
            }
            _ => cursor.take(next.len_utf8()),
        };
        tokens.push(Token { text: text.into(), line });
    }
    tokens
}

struct Cursor<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, octets: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(octets);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn name_length(&self) -> usize {
        self.rest.find(|next| !is_name_char(next)).unwrap_or(self.rest.len())
    }

    /// Block comments nest.
    fn take_block_comment(&mut self) {
        let mut open = 0;
        loop {
            if self.rest.starts_with("/*") {
                open += 1;
                self.take(2);
            } else if self.rest.starts_with("*/") {
                open -= 1;
                self.take(2);
                if open == 0 {
                    return;
                }
            } else if let Some(next) = self.rest.chars().next() {
                self.take(next.len_utf8());
            } else {
                return;
            }
        }
    }

    /// The length of the string or character that begins here, prefix included.
    fn literal(&self) -> Option<usize> {
        let prefix = self.rest.find(|next| !matches!(next, 'b' | 'c' | 'r')).filter(|length| *length <= 2)?;
        let (prefix, body) = self.rest.split_at(prefix);
        if prefix.ends_with('r') {
            let hashes = body.find(|next| next != '#')?;
            let text = body[hashes..].strip_prefix('"')?;
            let end = "\"".to_owned() + &body[..hashes];
            return Some(prefix.len() + hashes + 1 + text.find(&end).map_or(text.len(), |at| at + end.len()));
        }
        let quote = body.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        if quote == '\'' && !is_character(body) {
            return None;
        }
        let mut escaped = false;
        let end = body[1..].find(|next| {
            let ends = next == quote && !escaped;
            escaped = next == '\\' && !escaped;
            ends
        });
        Some(prefix.len() + end.map_or(body.len(), |at| at + 2))
    }
}

/// Whether a quote opens a character; otherwise it is a lifetime's.
fn is_character(body: &str) -> bool {
    let mut chars = body.chars().skip(1);
    chars.next() == Some('\\') || chars.next() == Some('\'')
}

fn is_name_char(next: char) -> bool {
    next.is_alphanumeric() || next == '_'
}
