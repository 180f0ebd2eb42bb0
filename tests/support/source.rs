//! Just enough Rust reading for the architecture test: what is code, what is a comment, a literal or a test.
//!
//! Owns the lexing. Must not know any rule.

/// The source with comments and the contents of literals replaced by spaces; lines stay where they are.
#[must_use]
pub(crate) fn blank_comments_and_literals(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match (chars[at], chars.get(at + 1)) {
            ('/', Some('/')) => line_end(&chars, at),
            ('/', Some('*')) => block_comment_end(&chars, at),
            ('"', _) => string_end(&chars, at + 1),
            ('r' | 'b' | 'c', _) if !follows_word(&chars, at) => prefixed_string_end(&chars, at).unwrap_or(at),
            ('\'', _) => char_end(&chars, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

fn follows_word(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

fn line_end(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|c| *c == '\n').map_or(chars.len(), |length| at + length)
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let (mut depth, mut i) = (0, at);
    while i < chars.len() {
        match (chars[i], chars.get(i + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                i += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                i += 2;
                if depth == 0 {
                    return i;
                }
            }
            _ => i += 1,
        }
    }
    chars.len()
}

fn string_end(chars: &[char], mut i: usize) -> usize {
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

/// `r"..."`, `r#"..."#`, `b"..."`, `br#"..."#`, `c"..."`; `None` for a plain word.
fn prefixed_string_end(chars: &[char], at: usize) -> Option<usize> {
    let mut i = at;
    while matches!(chars.get(i), Some('r' | 'b' | 'c')) && i < at + 2 {
        i += 1;
    }
    let raw = chars[at..i].contains(&'r');
    let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
    if chars.get(i + hashes) != Some(&'"') || (hashes > 0 && !raw) {
        return None;
    }
    let mut i = i + hashes + 1;
    if !raw {
        return Some(string_end(chars, i));
    }
    while i < chars.len() {
        if chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return Some(i + 1 + hashes);
        }
        i += 1;
    }
    Some(chars.len())
}

/// End of a character literal; `None` for a lifetime.
fn char_end(chars: &[char], at: usize) -> Option<usize> {
    match chars.get(at + 1)? {
        '\\' => chars[at + 3..].iter().position(|c| *c == '\'').map(|length| at + 3 + length + 1),
        _ => (chars.get(at + 2) == Some(&'\'')).then_some(at + 3),
    }
}

/// Blanked source without its test modules.
#[must_use]
pub(crate) fn without_tests(blanked: &str) -> String {
    let mut text = blanked.to_owned();
    while let Some(start) = text.find("#[cfg(test)]") {
        let rest = &text[start..];
        let end = match (rest.find('{'), rest.find(';')) {
            (Some(brace), Some(semicolon)) if semicolon < brace => start + semicolon + 1,
            (Some(brace), _) => start + block_end(rest, brace),
            (None, Some(semicolon)) => start + semicolon + 1,
            (None, None) => text.len(),
        };
        let gone: String = text[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        text.replace_range(start..end, &gone);
    }
    text
}

/// Position after the brace that closes the one at `open`.
#[must_use]
pub(crate) fn block_end(text: &str, open: usize) -> usize {
    let mut depth = 0;
    for (i, c) in text[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return open + i + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// Lines that hold code.
#[must_use]
pub(crate) fn code_lines(blanked: &str) -> usize {
    blanked.lines().filter(|line| !line.trim().is_empty()).count()
}

/// Positions at which `word` stands as a word of its own, not as part of a longer one.
pub(crate) fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| !text[..*at].ends_with(is_word) && !text[at + word.len()..].starts_with(is_word))
}
