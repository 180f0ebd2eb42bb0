//! The log of a process in JSON, read more strictly than by most readers: a name that stands twice in a line is taken
//! differently by each of them.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

/// One line.
struct Line(serde_json::Map<String, Value>);

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Line;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
                let mut line = serde_json::Map::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if line.contains_key(&name) {
                        return Err(A::Error::custom(format!("{name:?} is there twice")));
                    }
                    line.insert(name, value);
                }
                Ok(Line(line))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// What is wrong with a line; `None` when it is one object with a time, a level, and where it was said.
fn objection(line: &str) -> Option<String> {
    let Line(fields) = match serde_json::from_str(line) {
        Ok(line) => line,
        Err(error) => return Some(error.to_string()),
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("timestamp").parse::<jiff::Timestamp>().is_err() {
        return Some("no timestamp by RFC 3339".to_owned());
    }
    if !["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&text("level")) {
        return Some(format!("the level is {:?}", text("level")));
    }
    text("target").is_empty().then(|| "no target".to_owned())
}

/// The lines of this log that are not as they should be, each kind of complaint once.
pub fn objections(log: &str) -> Vec<String> {
    let mut kinds = BTreeSet::new();
    let bad = log.lines().filter_map(|line| Some((objection(line)?, line)));
    bad.filter(|(what, _)| kinds.insert(what.clone())).map(|(what, line)| format!("{what}: {line}")).collect()
}

#[test]
fn what_is_wrong_with_a_line_is_found() {
    let good = r#"{"timestamp":"2026-06-01T12:00:00.000001Z","level":"INFO","message":"a","target":"t"}"#;
    assert_eq!(objections(&format!("{good}\n{good}\n")), Vec::<String>::new());
    for (from, to, what) in [
        ("{", "thread 'main' panicked {", "expected ident at line 1 column 2: "),
        ("2026-06-01T12", "1 June, 12", "no timestamp by RFC 3339: "),
        ("INFO", "normal", "the level is \"normal\": "),
        (r#""message""#, r#""level":"WARN","message""#, "\"level\" is there twice at line 1 column "),
        (r#""target":"t""#, r#""target":"""#, "no target: "),
    ] {
        let bad = good.replacen(from, to, 1);
        let found = objections(&format!("{good}\n{bad}\n{bad}\n"));
        assert!(found.len() == 1 && found[0].starts_with(what) && found[0].ends_with(&bad), "{found:?}");
    }
}
