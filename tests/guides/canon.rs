//! What is not the same at every run, and how it is left out of a comparison.
//!
//! Owns the forms of times, ages and ids. Must not know any page.

use uuid::Uuid;

/// Each run of blanks is one blank, ages are `AGE`, times are `TIME`, and the ids of the page are counted. Of lines that
/// follow something while it changes only the last one stands.
pub fn canon(text: &str) -> String {
    let mut ids = Vec::new();
    let mut out: Vec<String> = Vec::new();
    for line in text.lines() {
        let line = numbered(line, &mut ids);
        let line = line.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
        if line.starts_with("AGE ") && out.last().is_some_and(|before| before.starts_with("AGE ")) {
            out.pop();
        }
        out.push(line);
    }
    out.join("\n")
}

/// The line with its n-th id as `ID-n`: the same id is the same all over the page.
fn numbered(line: &str, ids: &mut Vec<Uuid>) -> String {
    const LENGTH: usize = 36;
    let (mut out, mut rest) = (String::new(), line);
    while let Some(first) = rest.chars().next() {
        let id = rest.get(..LENGTH).and_then(|part| part.parse::<Uuid>().ok());
        let step = match id {
            Some(id) => {
                let number = ids.iter().position(|known| *known == id).unwrap_or_else(|| {
                    ids.push(id);
                    ids.len() - 1
                });
                out.push_str(&format!("ID-{number}"));
                LENGTH
            }
            None => {
                out.push(first);
                first.len_utf8()
            }
        };
        rest = &rest[step..];
    }
    out
}

fn word(word: &str) -> &str {
    let bare = word.trim_matches(['"', ',', '(', ')']);
    if bare.parse::<jiff::Timestamp>().is_ok() {
        return "TIME";
    }
    if is_age(bare) { "AGE" } else { word }
}

/// `12s`, `4m10s`, `3d`.
fn is_age(word: &str) -> bool {
    let mut digits = 0;
    for c in word.chars() {
        match c {
            '0'..='9' => digits += 1,
            's' | 'm' | 'h' | 'd' | 'y' if digits > 0 => digits = 0,
            _ => return false,
        }
    }
    !word.is_empty() && digits == 0
}

#[test]
fn only_what_cannot_be_the_same_is_left_out() {
    let (one, two) = ("11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222");
    let text = format!("a   {one} 4m10s\n({two}): 12s x {one}, 2026-01-02T03:04:05Z \"s\" 12 1s2");
    assert_eq!(canon(&text), "a ID-0 AGE\n(ID-1): AGE x ID-0, TIME \"s\" 12 1s2");
    assert_eq!(canon("x\n1s waits\n2s waits\n3s has it\ny"), "x\nAGE has it\ny");
    assert_eq!(canon(one), canon(two), "an id by itself is any id");
    assert_ne!(canon(&format!("{one} {one}")), canon(&format!("{one} {two}")));
}
