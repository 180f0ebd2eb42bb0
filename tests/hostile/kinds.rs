//! The kinds of hostile control planes, and what the operator must say of each.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::answers;
use crate::client_support::{Act, Seen, json as reply, record};
use crate::plane::{Face, Honest};

/// One kind.
pub struct Kind {
    pub name: &'static str,
    pub face: Face,
    /// What its `RunaiControlPlane` must say; `None`: its lists are fine, or slow.
    pub plane_says: Option<&'static str>,
    /// A list takes as long as it may, a minute: too long for this test to see its end.
    pub slow: bool,
    /// The reason that an object which is being deleted must show, and words of its message.
    pub leaving: (&'static str, &'static str),
}

fn is_list(seen: &Seen) -> bool {
    seen.method == "GET" && seen.path.starts_with("/api/v1/clusters?")
}

fn is_token(seen: &Seen) -> bool {
    seen.path.ends_with("/token")
}

/// The same answer to everything but token requests.
fn always(act: impl Fn() -> Act + Send + Sync + 'static) -> Face {
    Arc::new(move |_, seen, _| (!is_token(seen)).then(&act))
}

/// Lists of its own; reads are honest, changes are refused with 32 kB.
fn lists(list: impl Fn(&Honest, usize) -> Option<Act> + Send + Sync + 'static) -> Face {
    Arc::new(move |honest, seen, earlier| {
        if is_list(seen) {
            return list(honest, earlier);
        }
        (!is_token(seen) && seen.method != "GET").then(|| answers::refusal(422))
    })
}

fn list_of(records: &[Value]) -> Option<Act> {
    Some(Act::Reply(reply(200, json!(records).to_string())))
}

pub fn kinds(elsewhere: &str) -> Vec<Kind> {
    let elsewhere = elsewhere.to_owned();
    let undecodable = |name, face: Face, says| Kind {
        name,
        face,
        slow: false,
        plane_says: Some(says),
        leaving: ("Undecodable", "failed: the answer"),
    };
    let broken = |name, face: Face| Kind {
        name,
        face,
        slow: false,
        plane_says: Some("the connection broke"),
        leaving: ("ConnectionFailed", "the connection broke"),
    };
    let mut all = vec![
        undecodable("endless", always(|| answers::endless(200)), "larger than 67108864 bytes"),
        undecodable("gigabyte", always(|| answers::gigabyte(200)), "unreasonably large"),
        undecodable("html", always(|| answers::html(200)), "got text/html starting with '<'"),
        undecodable("deep", always(|| answers::deep(200)), "element 0 is not a registration"),
        undecodable("bomb", always(|| answers::bomb(200, 300_000)), "unreasonably large"),
        Kind {
            leaving: ("Undecodable", "redirects are not followed"),
            ..undecodable("redirect", Arc::new(move |_, _, _| Some(answers::redirect(&elsewhere))), "redirects are not")
        },
        // The status alone says that it is no answer to a DELETE.
        Kind {
            leaving: ("Undecodable", "expected status 202 or 204"),
            ..broken("cut-off", always(|| answers::too_short(200)))
        },
        broken("headers", always(|| answers::big_header(200))),
        broken("junk", always(answers::junk)),
    ];
    let slow = |name, act: fn(u16) -> Act, leaving| Kind {
        name,
        face: always(move || act(200)),
        slow: true,
        plane_says: None,
        leaving,
    };
    all.push(slow("slow", answers::slow_body, ("Undecodable", "expected status 202 or 204")));
    all.push(slow("slowloris", answers::slow_headers, ("ConnectionFailed", "within the deadline")));
    all.push(login());
    all.extend(bad_lists());
    all.extend(odd_lists());
    all
}

/// Every token is refused, and the answer to the request for another one never ends.
fn login() -> Kind {
    let face: Face =
        Arc::new(|_, seen, _| Some(if is_token(seen) { answers::endless(200) } else { Act::Reply(reply(401, "{}")) }));
    let leaving = ("AuthFailed", "status 401");
    Kind { name: "login", face, slow: false, plane_says: Some("no token: the answer is larger than"), leaving }
}

/// The list cannot be read; the rest refuses.
fn bad_lists() -> Vec<Kind> {
    let bad = |name, act: fn() -> Act, says| Kind {
        name,
        face: lists(move |_, _| Some(act())),
        slow: false,
        plane_says: Some(says),
        leaving: ("Rejected", "status 422"),
    };
    vec![
        bad("crowd", answers::endless_list, "more registrations are listed than the 32 MiB"),
        bad("conditions", answers::endless_conditions, "unreasonably large"),
        bad("utf8", || answers::list_of(&answers::bad_utf8()), "it is not JSON"),
        bad("twice", || answers::list_of(&answers::twice_the_key()), "duplicate field `name`"),
        bad("number", || answers::list_of(&answers::huge_number()), "element 0 is not a registration"),
    ]
}

/// The list can be read, and means harm.
fn odd_lists() -> Vec<Kind> {
    let odd = |name, face: Face, leaving| Kind { name, face, slow: false, plane_says: None, leaving };
    vec![
        odd("texts", lists(|honest, _| list_of(&evil(honest))), ("Rejected", "status 422")),
        odd("twins", lists(|honest, earlier| Some(twins(honest, earlier))), ("Rejected", "status 422")),
        odd(
            "types",
            lists(|honest, earlier| {
                let text = json!(honest.list()).to_string();
                let odd = text.replace("1001", "\"1001\"").replace("\"WaitingToConnect\"", "[[7]]");
                Some(Act::Reply(reply(200, if earlier.is_multiple_of(2) { odd } else { text })))
            }),
            ("Rejected", "status 422"),
        ),
        odd("other", other(), ("Undecodable", "another registration")),
        odd("hidden", hidden(), ("Undecodable", "expected a JSON error")),
    ]
}

/// Every text of every record is 32 kB of escapes and overrides.
fn evil(honest: &Honest) -> Vec<Value> {
    let text = answers::evil_text();
    let mut records = honest.list();
    for record in &mut records {
        for field in ["name", "domain", "version"] {
            record[field] = json!(text);
        }
        record["status"] = json!({ "state": text, "platform": { "type": text, "kubeVersion": text } });
    }
    records
}

/// The true records, and 20,000 more that bear the name of the object which is about to be made, half of them under
/// uuids that came before in other letters; at every second poll all have another name.
fn twins(honest: &Honest, earlier: usize) -> Act {
    let name = if earlier.is_multiple_of(2) { "twins-new" } else { "twins-else" };
    let mut body = honest.list().iter().map(Value::to_string).collect::<Vec<_>>();
    body.extend((0..20_000).map(|n| {
        let uuid = format!("abcdef00-0000-4000-9000-{n:012}");
        record(&if n % 2 == 0 { uuid } else { uuid.to_uppercase() }, name)
    }));
    Act::Reply(reply(200, format!("[{}]", body.join(","))))
}

/// The list holds a stranger only, and by id the stranger is the answer, too.
fn other() -> Face {
    Arc::new(|_, seen, _| {
        let stranger = record(answers::FOREIGN, "stranger");
        match (is_token(seen), is_list(seen)) {
            (true, _) => None,
            (_, true) => Some(Act::Reply(reply(200, format!("[{stranger}]")))),
            (_, _) => Some(Act::Reply(reply(200, stranger))),
        }
    })
}

/// The list holds a stranger only, and by id a page says 404: that is no absence.
fn hidden() -> Face {
    Arc::new(|_, seen, _| {
        let stranger = record(answers::FOREIGN, "stranger");
        match (is_token(seen), is_list(seen)) {
            (true, _) => None,
            (_, true) => Some(Act::Reply(reply(200, format!("[{stranger}]")))),
            (_, _) => Some(answers::html(404)),
        }
    })
}
