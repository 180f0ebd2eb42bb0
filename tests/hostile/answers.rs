//! Answers that a control plane should never give, as bytes. Owns their making; must not know what is asked or expected.

use std::time::Duration;

use crate::client_support::{Act, http, json, record};

pub const UUID: &str = "9f55255e-11ed-47c7-acef-fc4054768dbc";
pub const FOREIGN: &str = "00000000-0000-4000-8000-00000000000f";

/// Escape sequences, a bell, a zero byte, bidirectional overrides and invisible characters: 32 kB of them.
pub fn evil_text() -> String {
    "\u{1b}[31mred\u{1b}]0;title\u{7}\u{0}\u{202e}live\u{2066}\u{200b}\u{9b}2J\r\n".repeat(32 * 1024 / 44 + 1)
}

/// As part of a JSON document.
pub fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// An error with a message of 32 kB that nobody should have to read.
pub fn refusal(code: u16) -> Act {
    Act::Reply(json(code, format!(r#"{{"code":{code},"message":{}}}"#, quoted(&evil_text()))))
}

fn head(code: u16, headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 {code} X\r\ncontent-type: application/json\r\n{headers}\r\n").into_bytes()
}

fn raw(text: impl Into<Vec<u8>>) -> Act {
    Act::Reply(text.into())
}

/// A body that begins well and never ends.
pub fn endless(code: u16) -> Act {
    Act::Endless(head(code, ""), vec![b' '; 64 * 1024])
}

/// The same in chunks.
pub fn endless_chunks(code: u16) -> Act {
    let chunk = [b"8000\r\n".to_vec(), vec![b' '; 0x8000], b"\r\n".to_vec()].concat();
    Act::Endless(head(code, "transfer-encoding: chunked\r\n"), chunk)
}

/// A length of 1 GiB, and the bytes for it.
pub fn gigabyte(code: u16) -> Act {
    Act::Endless(head(code, "content-length: 1073741824\r\n"), vec![b'['; 64 * 1024])
}

/// A list that never ends: the same record again and again.
pub fn endless_list() -> Act {
    let chunk = format!("{},", record(UUID, "a")).repeat(500);
    Act::Endless([head(200, ""), b"[".to_vec()].concat(), chunk.into_bytes())
}

/// A record with conditions of 32 KiB each, thousands of them.
pub fn endless_conditions() -> Act {
    let begin = format!(r#"[{{"uuid":"{UUID}","tenantId":1,"name":"a","status":{{"conditions":["#);
    let condition = format!(r#"{{"type":"x","message":"{}"}},"#, "m".repeat(32 * 1024));
    Act::Endless([head(200, ""), begin.into_bytes()].concat(), condition.into_bytes())
}

pub fn slow_body(code: u16) -> Act {
    Act::Drip([head(code, "content-length: 100000\r\n"), b"[".to_vec()].concat(), Duration::from_millis(100))
}

pub fn slow_headers(code: u16) -> Act {
    Act::Drip(format!("HTTP/1.1 {code} X\r\nx-slow: ").into_bytes(), Duration::from_millis(100))
}

pub fn too_short(code: u16) -> Act {
    raw([head(code, "connection: close\r\ncontent-length: 5000\r\n"), b"[{".to_vec()].concat())
}

pub fn big_header(code: u16) -> Act {
    raw(head(code, &format!("x-big: {}\r\ncontent-length: 0\r\n", "h".repeat(1024 * 1024))))
}

pub fn junk() -> Act {
    raw("[]\n")
}

pub fn html(code: u16) -> Act {
    Act::Reply(crate::client_support::html(code))
}

pub fn redirect(to: &str) -> Act {
    Act::Reply(http(307, &[("location", to)], ""))
}

pub fn deep(code: u16) -> Act {
    Act::Reply(json(code, "[".repeat(100_000) + &"]".repeat(100_000)))
}

pub fn list_of(element: &[u8]) -> Act {
    Act::Reply(json(200, [b"[", element, b"]"].concat()))
}

pub fn bad_utf8() -> Vec<u8> {
    record(UUID, "\u{1}")
        .replace('\u{1}', "?")
        .into_bytes()
        .iter()
        .map(|b| if *b == b'?' { 0xff } else { *b })
        .collect()
}

pub fn twice_the_key() -> Vec<u8> {
    record(UUID, "a").replacen('{', r#"{"name":"b","#, 1).into_bytes()
}

pub fn huge_number() -> Vec<u8> {
    record(UUID, "a").replace("1001", &"9".repeat(400)).into_bytes()
}

/// Gzip of a bracket and very many blanks: each 13 bits give 258 of them (fixed Huffman codes).
pub fn bomb(code: u16, repeats: usize) -> Act {
    let mut bits: Vec<bool> = vec![true, true, false];
    let mut put = |value: u32, length: u32| bits.extend((0..length).rev().map(|bit| value >> bit & 1 == 1));
    put(0x30 + u32::from(b'['), 8);
    put(0x30 + u32::from(b' '), 8);
    for _ in 0..repeats {
        put(0b1100_0101, 8);
        put(0, 5);
    }
    let byte = |bits: &[bool]| bits.iter().enumerate().fold(0, |sum, (at, bit)| sum | u8::from(*bit) << at);
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    bytes.extend(bits.chunks(8).map(byte));
    Act::Reply(http(code, &[("content-encoding", "gzip")], bytes))
}

/// Every answer that is wrong for every endpoint whose good status is `code`.
pub fn for_every_endpoint(code: u16, elsewhere: &str) -> Vec<(&'static str, Act)> {
    let length = |length: &str| raw([head(code, &format!("content-length: {length}\r\n")), b"[]".to_vec()].concat());
    vec![
        ("slow headers", slow_headers(code)),
        ("slow body", slow_body(code)),
        ("endless body", endless(code)),
        ("endless chunks", endless_chunks(code)),
        ("1 GiB", gigabyte(code)),
        ("cut off", too_short(code)),
        ("negative length", length("-1")),
        ("two lengths", length("2\r\ncontent-length: 3")),
        ("absurd length", length("99999999999999999999999")),
        (
            "absurd chunk",
            raw([head(code, "transfer-encoding: chunked\r\n"), b"fffffffffffffffff\r\n".to_vec()].concat()),
        ),
        ("bad chunk", raw([head(code, "transfer-encoding: chunked\r\n"), b"zz\r\n[]\r\n0\r\n\r\n".to_vec()].concat())),
        ("header of 1 MB", big_header(code)),
        ("thousand headers", raw(head(code, &"a: b\r\n".repeat(1000)))),
        ("zero in a header", raw(head(code, "a: \0\r\n"))),
        ("100 for ever", Act::Endless(Vec::new(), b"HTTP/1.1 100 Continue\r\n\r\n".to_vec())),
        ("101", raw("HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")),
        ("HTTP/0.9", junk()),
        ("HTTP/2 preface", raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")),
        ("status of two digits", raw("HTTP/1.1 20 X\r\n\r\n[]")),
        ("status 999", raw("HTTP/1.1 999 X\r\ncontent-length: 0\r\n\r\n")),
        ("redirect", redirect(elsewhere)),
        ("HTML", html(code)),
        ("deep JSON", deep(code)),
        ("deep objects", Act::Reply(json(code, "{\"a\":".repeat(100_000)))),
        ("bad UTF-8", Act::Reply(json(code, b"{\"message\":\"\xff\xfe\"}"))),
        ("text", Act::Reply(http(code, &[("content-type", "\u{e9}vil; \u{1f}")], "hello"))),
        ("gzip bomb", bomb(code, 300_000)),
        ("no gzip", Act::Reply(http(code, &[("content-encoding", "gzip")], "[]"))),
        ("unknown encoding", Act::Reply(http(code, &[("content-encoding", "br")], "\u{7}[]"))),
        ("reset", Act::ReplyThenReset(head(code, "content-length: 10\r\n"))),
        ("400 with 32 kB", refusal(400)),
        ("500 with 32 kB", refusal(500)),
        ("401 endless", endless(401)),
        ("404 endless", endless(404)),
        ("404 cut off", too_short(404)),
        ("404 HTML", html(404)),
    ]
}
