//! The REST client against servers that misbehave: what each fault means, how often anything is sent, and that nothing
//! secret comes out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client_support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use client_support::{
    Act, BODY, CANARIES, CLIENT_ID, CLIENT_SECRET, Hostile, TOKEN, UUID, client, html, http, json, limits, new_cluster,
    observed, record, secret, settings, uuid,
};
use runai_cluster_operator::domain::{ClusterName, Reason};
use runai_cluster_operator::runai::{
    ApiError, Class, ClientObserver, DeleteReply, ErrorKind, Operation, RunaiClient, TokenApi, TransportKind, Verbosity,
};

const SECOND: Duration = Duration::from_secs(1);

/// Fails when an error shows anything that it must not.
fn assert_clean(error: &ApiError) {
    for text in [error.to_string(), format!("{error:?}"), format!("{error:#?}"), error.user_message()] {
        for canary in CANARIES {
            assert!(!text.contains(canary), "{canary} came out: {text}");
        }
        assert!(!text.contains("verbosity") && !text.contains("/api/"), "a URL came out: {text}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "control characters came out: {text:?}");
    }
}

async fn create(client: &RunaiClient) -> Result<(), ApiError> {
    let permit = client.permit(Operation::CreateCluster).await?;
    client.create(&new_cluster("a"), permit).await.map(drop)
}

async fn rename(client: &RunaiClient) -> Result<(), ApiError> {
    let permit = client.permit(Operation::RenameCluster).await?;
    client.rename(uuid(), &ClusterName::parse("b").unwrap(), permit).await
}

async fn delete(client: &RunaiClient) -> Result<DeleteReply, ApiError> {
    let permit = client.permit(Operation::DeleteCluster).await?;
    client.delete(uuid(), false, permit).await
}

struct Fault {
    what: &'static str,
    act: Act,
    class: Class,
    reason: Reason,
    says: &'static str,
}

fn fault(what: &'static str, act: Act, class: Class, reason: Reason, says: &'static str) -> Fault {
    Fault { what, act, class, reason, says }
}

/// Answers that are errors for every operation.
fn faults() -> Vec<Fault> {
    let message = format!(
        r#"{{"code":0,"message":"no\u0000 \u202e{CLIENT_SECRET} {CLIENT_ID} {TOKEN}\n end","details":"{BODY}"}}"#
    );
    let said = |code| Act::Reply(json(code, &message));
    let with = |code, name, value| Act::Reply(http(code, &[(name, value)], ""));
    let (retry, auth, rejected) = (Class::Retry, Class::Auth, Class::Rejected);
    vec![
        fault("400", said(400), rejected, Reason::Rejected, "status 400"),
        fault("401", said(401), auth, Reason::AuthFailed, "check the credentials"),
        fault("403", said(403), auth, Reason::Forbidden, "lack a permission"),
        fault("403 in HTML", Act::Reply(html(403)), auth, Reason::Forbidden, "status 403;"),
        fault("405", said(405), rejected, Reason::Rejected, "status 405"),
        fault("408", said(408), retry, Reason::ConnectionFailed, "status 408"),
        fault("410", said(410), Class::Gone, Reason::Rejected, "not found, status 410"),
        fault("422", said(422), rejected, Reason::Rejected, "(\"no [redacted] [redacted] [redacted] end\")"),
        fault("429", said(429), Class::Throttled(None), Reason::Throttled, "fewer requests"),
        fault("429 s", with(429, "retry-after", "7"), Class::Throttled(Some(SECOND * 7)), Reason::Throttled, "429"),
        fault("429 ?", with(429, "retry-after", "soon"), Class::Throttled(None), Reason::Throttled, "429"),
        fault("500", said(500), retry, Reason::ConnectionFailed, "failed, status 500"),
        fault("502 in HTML", Act::Reply(html(502)), retry, Reason::ConnectionFailed, "failed, status 502"),
        fault("503", said(503), retry, Reason::ConnectionFailed, "status 503"),
        fault(
            "503 s",
            with(503, "retry-after", "9999"),
            Class::Throttled(Some(SECOND * 300)),
            Reason::Throttled,
            "503",
        ),
        fault("504 empty", Act::Reply(json(504, "")), retry, Reason::ConnectionFailed, "status 504"),
        fault("599", said(599), retry, Reason::ConnectionFailed, "status 599"),
        fault(
            "301",
            with(301, "location", "http://127.0.0.1:9/"),
            retry,
            Reason::Undecodable,
            "redirects are not followed",
        ),
        fault("307", with(307, "location", "http://127.0.0.1:9/"), retry, Reason::Undecodable, "unexpected status 307"),
        fault("404 in HTML", Act::Reply(html(404)), retry, Reason::Undecodable, "expected a JSON error, got text/html"),
        fault("200 in HTML", Act::Reply(html(200)), retry, Reason::Undecodable, "got text/html"),
        fault("reset", Act::Reset, retry, Reason::ConnectionFailed, "connection broke"),
        fault("closed", Act::Close, retry, Reason::ConnectionFailed, "connection broke"),
        fault(
            "no HTTP",
            Act::Reply(b"SSH-2.0-canary-body-text-e41a\r\n\r\n".to_vec()),
            retry,
            Reason::ConnectionFailed,
            "connection broke",
        ),
        fault("hang", Act::Hang, retry, Reason::ConnectionFailed, "within the deadline"),
    ]
}

fn check(fault: &Fault, operation: &str, error: &ApiError) {
    let label = format!("{operation}, {}: {error}", fault.what);
    assert_eq!(error.class(), fault.class, "{label}");
    assert_eq!(error.reason(), fault.reason, "{label}");
    assert!(error.user_message().contains(fault.says), "want {:?}; {label}", fault.says);
    assert!(error.user_message().contains("127.0.0.1"), "the host is named; {label}");
    assert!(!error.certainly_not_sent(), "{label}");
    assert_clean(error);
}

#[tokio::test]
async fn every_fault_has_its_class_and_reason_for_reads() {
    for fault in faults() {
        let server = Hostile::always(fault.act.clone()).await;
        let client = server.client();
        check(&fault, "list", &client.list_once(Verbosity::Full).await.expect_err(fault.what));
        let client = server.client();
        check(&fault, "get", &client.get(uuid()).await.expect_err(fault.what));
    }
}

#[tokio::test]
async fn every_fault_has_its_class_and_reason_for_changes_and_they_are_sent_once() {
    for fault in faults() {
        let server = Hostile::always(fault.act.clone()).await;
        check(&fault, "create", &create(&server.client()).await.expect_err(fault.what));
        check(&fault, "rename", &rename(&server.client()).await.expect_err(fault.what));
        match delete(&server.client()).await {
            Err(error) => check(&fault, "delete", &error),
            Ok(reply) => panic!("{}: delete took it for {reply:?}", fault.what),
        }
        for method in ["POST", "PUT", "DELETE"] {
            assert_eq!(server.count(method), 1, "{}: {method}", fault.what);
        }
    }
}

#[tokio::test]
async fn a_refused_change_renews_the_token_and_is_not_sent_again() {
    let server = Hostile::always(Act::Reply(json(401, "{}"))).await;
    let error = create(&server.client()).await.unwrap_err();
    let ErrorKind::Status(status) = &error.kind else { panic!("{error:?}") };
    assert!(status.refreshed);
    assert_eq!((server.count("POST"), server.tokens()), (1, 2));
}

/// The token in the message is no longer the one in use when the message is made fit to show.
#[tokio::test]
async fn a_replaced_token_stays_a_secret() {
    let server = Hostile::start(|seen, earlier| {
        if seen.path.ends_with("/token") {
            return Some(Act::Reply(json(200, format!(r#"{{"accessToken":"{TOKEN}-{earlier}","expiresIn":3600}}"#))));
        }
        let sent = seen.head.lines().find(|line| line.starts_with("authorization")).unwrap();
        Some(Act::Reply(json(401, format!(r#"{{"message":"no good: {sent}"}}"#))))
    })
    .await;
    let client = server.client();
    let error = create(&client).await.unwrap_err();
    assert!(error.to_string().contains("no good: authorization: bearer [redacted]"), "{error}");
    assert_clean(&error);
    let all = (0..8).map(|_| client.list_once(Verbosity::Full));
    for result in futures::future::join_all(all).await {
        assert_clean(&result.unwrap_err());
    }
}

#[tokio::test]
async fn bodies_that_are_not_a_list_are_an_error_as_a_whole() {
    let good = record(UUID, "a");
    let other = record("00000000-0000-4000-8000-000000000001", BODY);
    let table = [
        (json(200, ""), "got an empty body"),
        (json(200, "null"), "starting with 'n'"),
        (json(200, r#"{"clusters":[]}"#), "application/json starting with '{'"),
        (json(200, format!("[{good}")), "ends before its closing bracket"),
        (json(200, format!("[{good},{}", &other[..40])), "ends before its closing bracket"),
        (json(200, format!("[{good},]")), "element 1 is not a registration"),
        (json(200, format!("[{good}] {BODY}")), "something follows"),
        (
            json(200, format!("[{good},{{\"uuid\":\"{BODY}\"}}]")),
            "element 1 is not a registration: missing field `tenantId`",
        ),
        (
            json(200, format!("[{}]", good.replace("1001", &format!("\"{BODY}\"")))),
            "another type than the API documents",
        ),
        (json(200, format!("[{good},null]")), "element 1 is not a registration"),
        (json(200, format!("[{}]", good.replace("2026-01-02", BODY))), "`createdAt` is not an RFC 3339 time"),
        (json(204, ""), "unexpected status 204"),
        (json(206, "[]"), "unexpected status 206"),
    ];
    for (reply, says) in table {
        let server = Hostile::always(Act::Reply(reply)).await;
        let error = server.client().list(Verbosity::Full).await.expect_err(says);
        assert!(error.user_message().contains(says), "want {says:?}, got {error}");
        assert_eq!((error.class(), error.reason()), (Class::Retry, Reason::Undecodable));
        assert_clean(&error);
        assert_eq!(server.count("GET"), 1, "what is not the API does not get better at once");
    }
}

#[tokio::test]
async fn a_list_keeps_the_first_of_two_records_with_one_uuid() {
    let body = format!("[{},{}]", record(UUID, "first"), record(&UUID.to_uppercase(), "second"));
    let server = Hostile::always(Act::Reply(json(200, body))).await;
    let listing = server.client().list(Verbosity::Full).await.unwrap();
    assert_eq!(listing.clusters.len(), 1);
    assert_eq!(listing.clusters[0].name, "first");
    assert_eq!(listing.duplicates, [uuid()]);
}

#[tokio::test]
async fn a_list_asks_for_deleting_registrations_and_says_how_much() {
    let server = Hostile::start(|_, _| None).await;
    let client = server.client();
    client.list(Verbosity::Full).await.unwrap();
    client.list(Verbosity::Metadata).await.unwrap();
    let seen = server.seen();
    let paths: Vec<&str> = seen.iter().filter(|seen| seen.method == "GET").map(|seen| seen.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "/api/v1/clusters?includeRequestedForDelete=true&verbosity=full",
            "/api/v1/clusters?includeRequestedForDelete=true&verbosity=metadata",
        ]
    );
    let get = seen.iter().find(|seen| seen.method == "GET").unwrap();
    assert!(get.head.contains(&format!("authorization: bearer {TOKEN}")), "{}", get.head);
    assert!(get.head.contains("user-agent: runai-cluster-operator/"), "{}", get.head);
}

#[tokio::test]
async fn what_a_read_by_id_may_conclude() {
    let ok = |body: String| Act::Reply(json(200, body));
    let present = Hostile::always(ok(record(&UUID.to_uppercase(), "a"))).await;
    assert_eq!(present.client().get(uuid()).await.unwrap().unwrap().name, "a");
    for absent in [json(404, r#"{"code":404,"message":"no"}"#), json(404, ""), http(404, &[], "  ")] {
        let server = Hostile::always(Act::Reply(absent)).await;
        assert_eq!(server.client().get(uuid()).await.unwrap(), None);
    }
    let chunked = b"HTTP/1.1 404 X\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"a\":".to_vec();
    let not_absent = [
        Act::Reply(html(404)),
        Act::ReplyThenReset(chunked.clone()),
        Act::Reply(chunked),
        ok(String::new()),
        ok("{}".to_owned()),
        ok("[]".to_owned()),
        ok(record("00000000-0000-4000-8000-000000000001", "a")),
        ok(record(UUID, "a")[..50].to_owned()),
        Act::Reply(json(204, "")),
        Act::Reply(json(403, "{}")),
    ];
    for act in not_absent {
        let server = Hostile::always(act.clone()).await;
        let error = server.client().get(uuid()).await.expect_err(&format!("{act:?}"));
        assert_ne!(error.class(), Class::Gone, "{act:?}");
        assert_clean(&error);
    }
}

#[tokio::test]
async fn what_a_delete_may_conclude() {
    let table = [
        (json(202, r#"{"code":202,"message":"ok"}"#), Some(DeleteReply::Accepted)),
        (json(204, ""), Some(DeleteReply::Done)),
        (json(404, "{}"), Some(DeleteReply::NotFound)),
        (json(404, ""), Some(DeleteReply::NotFound)),
        (json(409, "{}"), Some(DeleteReply::Conflict)),
        (html(404), None),
        (html(200), None),
        (json(200, "{}"), None),
    ];
    for (reply, want) in table {
        let server = Hostile::always(Act::Reply(reply.clone())).await;
        let got = delete(&server.client()).await.ok();
        assert_eq!(got, want, "{}", String::from_utf8_lossy(&reply));
    }
    let server = Hostile::always(Act::Reply(json(204, ""))).await;
    let client = server.client();
    let permit = client.permit(Operation::DeleteCluster).await.unwrap();
    client.delete(uuid(), true, permit).await.unwrap();
    assert_eq!(server.seen().last().unwrap().path, format!("/api/v1/clusters/{UUID}?force=true"));
}

#[tokio::test]
async fn what_a_create_may_conclude() {
    let table = [
        (json(201, record(UUID, "a")), true),
        (json(200, record(UUID, "a")), true),
        (json(201, record(UUID, "A")), false),
        (json(201, record(UUID, "another")), false),
        (json(201, ""), false),
        (json(201, "[]"), false),
        (json(202, record(UUID, "a")), false),
        (json(204, ""), false),
        (html(201), false),
    ];
    for (reply, want) in table {
        let server = Hostile::always(Act::Reply(reply.clone())).await;
        let created = create(&server.client()).await;
        assert_eq!(created.is_ok(), want, "{}", String::from_utf8_lossy(&reply));
        if let Err(error) = created {
            assert!(!error.certainly_not_sent(), "an odd answer leaves doubt: {error}");
            assert_clean(&error);
        }
        let seen = server.seen();
        assert_eq!(seen.last().unwrap().body, r#"{"name":"a"}"#);
    }
}

#[tokio::test]
async fn a_permit_whose_condition_fails_sends_nothing() {
    let server = Hostile::start(|_, _| None).await;
    let client = server.client();
    for holds in [[false, true], [true, false]] {
        let permit = client.permit(Operation::CreateCluster).await.unwrap();
        let permit = permit.only_if(move || holds[0]).only_if(move || holds[1]);
        let error = client.create(&new_cluster("a"), permit).await.unwrap_err();
        assert!(matches!(error.kind, ErrorKind::HeldBack) && error.certainly_not_sent());
        assert_eq!(error.class(), Class::Retry);
    }
    assert_eq!(server.count("POST"), 0);
    assert_eq!(server.tokens(), 1, "the condition is asked after the token was had");
}

#[tokio::test]
async fn reads_are_repeated_briefly_and_only_where_it_helps() {
    let busy = |code: u16| Act::Reply(json(code, "{}"));
    let table = [
        (busy(502), 2, true, 3),
        (busy(503), 2, true, 3),
        (busy(504), 1, true, 2),
        (Act::Reset, 2, true, 3),
        (Act::Close, 1, true, 2),
        (busy(503), 9, false, 3),
        (Act::Reset, 9, false, 3),
        (busy(500), 1, false, 1),
        (busy(429), 1, false, 1),
        (busy(403), 1, false, 1),
        (Act::Reply(http(503, &[("retry-after", "1")], "")), 1, false, 1),
        (Act::Reply(html(200)), 1, false, 1),
        (Act::Hang, 1, false, 1),
    ];
    for (act, failures, ok, requests) in table {
        let fail = act.clone();
        let server =
            Hostile::start(move |seen, earlier| (seen.method == "GET" && earlier < failures).then(|| fail.clone()))
                .await;
        let got = server.client().list(Verbosity::Full).await;
        assert_eq!((got.is_ok(), server.count("GET")), (ok, requests), "{act:?}");
    }
    let server = Hostile::start(|seen, _| (seen.method == "GET").then(|| Act::Reply(json(503, "{}")))).await;
    server.client().list_once(Verbosity::Full).await.unwrap_err();
    assert_eq!(server.count("GET"), 1, "once means once");
}

#[tokio::test]
async fn a_slow_body_ends_at_the_total_deadline() {
    let head = b"HTTP/1.1 200 X\r\ncontent-length: 100000\r\n\r\n[".to_vec();
    let server = Hostile::always(Act::Drip(head, Duration::from_millis(100))).await;
    let started = Instant::now();
    let error = server.client().list(Verbosity::Full).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transport(TransportKind::Timeout));
    assert!(started.elapsed() >= limits().list_deadline, "it was a proper wait");
    assert_eq!(server.count("GET"), 1, "no patience is spent twice");
}

#[tokio::test]
async fn endless_bodies_are_cut_off() {
    let head = |code: u16| format!("HTTP/1.1 {code} X\r\ncontent-type: application/json\r\n\r\n").into_bytes();
    let chunk = vec![b' '; 64 * 1024];
    let server = Hostile::always(Act::Endless(head(200), chunk.clone())).await;
    let error = server.client().get(uuid()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooLarge { limit: 1024 * 1024 });
    assert_eq!(error.reason(), Reason::Undecodable);
    let server = Hostile::always(Act::Endless(head(403), chunk.clone())).await;
    let error = server.client().get(uuid()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Forbidden, "an error needs no body");
    let server = Hostile::always(Act::Endless(head(404), chunk.clone())).await;
    server.client().get(uuid()).await.expect_err("an endless 404 is no absence");
    let server = Hostile::always(Act::Endless(head(200), chunk)).await;
    let patient = client(&server.url, client_support::patient());
    let error = patient.list_once(Verbosity::Full).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooLarge { limit: 64 * 1024 * 1024 });
}

#[tokio::test]
async fn a_lying_content_length_is_noticed() {
    let body = format!("[{}]", record(UUID, "a"));
    let lie = |length: usize| {
        let head = format!("HTTP/1.1 200 X\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
        Act::Reply(head.into_bytes())
    };
    let server = Hostile::always(lie(body.len() + 10)).await;
    let error = server.client().list_once(Verbosity::Full).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transport(TransportKind::Broken), "too long");
    let server = Hostile::always(lie(body.len() - 1)).await;
    let error = server.client().list_once(Verbosity::Full).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Undecodable, "too short");
    let server = Hostile::always(lie(0)).await;
    assert!(server.client().list_once(Verbosity::Full).await.is_err(), "none at all is not an empty list");
}

/// Gzip of `first` and then very many blanks: fixed Huffman codes, each repeat 13 bits for 258 bytes.
fn gzip_bomb(first: u8, repeats: usize) -> Vec<u8> {
    let mut bits: Vec<bool> = vec![true, true, false];
    let mut code = |value: u32, length: u32| bits.extend((0..length).rev().map(|bit| value >> bit & 1 == 1));
    code(0x30 + u32::from(first), 8);
    code(0x30 + u32::from(b' '), 8);
    for _ in 0..repeats {
        code(0b1100_0101, 8);
        code(0, 5);
    }
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    bytes.extend(
        bits.chunks(8).map(|byte| byte.iter().enumerate().fold(0, |sum, (at, bit)| sum | u8::from(*bit) << at)),
    );
    bytes
}

#[tokio::test]
async fn compressed_bodies_are_read_and_capped_by_their_real_size() {
    // gzip of "[]"
    let small = [31, 139, 8, 0, 0, 0, 0, 0, 2, 255, 139, 142, 5, 0, 41, 187, 76, 13, 2, 0, 0, 0];
    let server = Hostile::always(Act::Reply(http(200, &[("content-encoding", "gzip")], small))).await;
    let listing = server.client().list(Verbosity::Full).await.unwrap();
    assert!(listing.clusters.is_empty());
    let bomb = gzip_bomb(b'{', 300_000);
    assert!(bomb.len() < 500_000, "77 MB in {}", bomb.len());
    let server = Hostile::always(Act::Reply(http(200, &[("content-encoding", "gzip")], bomb))).await;
    let error = server.client().get(uuid()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooLarge { limit: 1024 * 1024 });
}

#[tokio::test]
async fn a_redirected_token_request_does_not_carry_the_secret_elsewhere() {
    let elsewhere = Hostile::start(|_, _| None).await;
    let target = elsewhere.url.clone();
    for code in [301, 302, 303, 307, 308] {
        let target = target.clone();
        let server = Hostile::start(move |seen, _| {
            let to = format!("{target}{}", seen.path);
            Some(Act::Reply(http(code, &[("location", &to)], "")))
        })
        .await;
        let error = server.client().list(Verbosity::Full).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Undecodable, "{error}");
        assert!(error.certainly_not_sent());
        assert_clean(&error);
    }
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
}

#[tokio::test]
async fn what_the_token_endpoint_may_answer() {
    let said = format!(r#"{{"message":"bad {CLIENT_SECRET} of {CLIENT_ID}"}}"#);
    let table = [
        (Act::Reply(json(400, &said)), Class::Auth, Reason::AuthFailed, "(\"bad [redacted] of [redacted]\")"),
        (Act::Reply(json(401, &said)), Class::Auth, Reason::AuthFailed, "credentials were refused"),
        (Act::Reply(json(403, &said)), Class::Auth, Reason::AuthFailed, "credentials were refused"),
        (Act::Reply(html(404)), Class::Gone, Reason::AuthFailed, "no such token endpoint"),
        (Act::Reply(json(429, "")), Class::Throttled(None), Reason::Throttled, "429"),
        (Act::Reply(html(502)), Class::Retry, Reason::ConnectionFailed, "status 502"),
        (Act::Reply(html(200)), Class::Retry, Reason::Undecodable, "got text/html"),
        (Act::Reply(json(200, "{}")), Class::Retry, Reason::Undecodable, "access token"),
        (Act::Reply(json(200, "")), Class::Retry, Reason::Undecodable, "empty body"),
        (Act::Reply(json(204, "")), Class::Retry, Reason::Undecodable, "unexpected status 204"),
        (Act::Reset, Class::Retry, Reason::ConnectionFailed, "connection broke"),
        (Act::Hang, Class::Retry, Reason::ConnectionFailed, "within the deadline"),
    ];
    for (act, class, reason, says) in table {
        let answer = act.clone();
        let server = Hostile::start(move |seen, _| seen.path.ends_with("/token").then(|| answer.clone())).await;
        let error = create(&server.client()).await.expect_err(says);
        assert_eq!((error.class(), error.reason()), (class, reason), "{act:?} {error}");
        assert!(error.user_message().contains(says), "want {says:?}, got {error}");
        assert!(error.certainly_not_sent(), "without a token nothing is created");
        assert_clean(&error);
        assert_eq!((server.count("POST"), server.tokens()), (0, 1));
    }
}

#[tokio::test]
async fn refused_credentials_make_no_token_storm() {
    let server = Hostile::start(|seen, _| seen.path.ends_with("/token").then(|| Act::Reply(json(401, "{}")))).await;
    let client = server.client();
    let all = (0..300).map(|_| client.list_once(Verbosity::Full));
    let results = futures::future::join_all(all).await;
    assert!(results.iter().all(|result| result.as_ref().is_err_and(|error| error.class() == Class::Auth)));
    // One attempt, and a second one if the machine is so slow that the first pause passed meanwhile.
    assert!(server.tokens() <= 2, "{} token requests", server.tokens());
    assert_eq!(server.count("GET"), 0);
}

#[tokio::test]
async fn a_storm_of_refusals_makes_one_token_request() {
    let server = Hostile::start(|seen, earlier| match seen.path.as_str() {
        path if path.ends_with("/token") => {
            Some(Act::Reply(json(200, format!(r#"{{"accessToken":"{TOKEN}-{earlier}","expiresIn":3600}}"#))))
        }
        // The first token works for one request and is revoked then.
        _ => (seen.head.contains("-0\r\n") && earlier > 0).then(|| Act::Reply(json(401, "{}"))),
    })
    .await;
    let client = server.client();
    client.list_once(Verbosity::Full).await.unwrap();
    let all = (0..50).map(|_| client.list_once(Verbosity::Full));
    let results = futures::future::join_all(all).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(server.tokens(), 2, "the first one and one renewal");
    assert!(server.count("GET") <= 1 + 50 + 50, "each is sent again once at most");
}

#[tokio::test]
async fn tokens_that_are_refused_at_once_are_not_asked_for_ever_faster() {
    let server = Hostile::always(Act::Reply(json(401, "{}"))).await;
    let client = server.client();
    for _ in 0..20 {
        let error = client.list_once(Verbosity::Full).await.unwrap_err();
        assert_eq!(error.reason(), Reason::AuthFailed, "{error}");
    }
    assert!(server.tokens() <= 4, "{} token requests for 20 refused reads", server.tokens());
}

#[tokio::test]
async fn a_wish_for_silence_is_obeyed_by_everything() {
    let server = Hostile::start(|seen, earlier| {
        let busy = || Act::Reply(http(429, &[("retry-after", "3")], ""));
        (seen.method == "GET" && earlier == 0).then(busy)
    })
    .await;
    let client = server.client();
    assert_eq!(client.list(Verbosity::Full).await.unwrap_err().class(), Class::Throttled(Some(SECOND * 3)));
    let before = server.seen().len();
    let list = client.list(Verbosity::Full).await.unwrap_err();
    let get = client.get(uuid()).await.unwrap_err();
    let permit = client.permit(Operation::CreateCluster).await.unwrap_err();
    for error in [list, get, permit] {
        let Class::Throttled(Some(left)) = error.class() else { panic!("{error}") };
        assert!(left <= SECOND * 3 && error.reason() == Reason::Throttled, "{error}");
    }
    assert_eq!(server.seen().len(), before, "nothing was sent");
}

#[tokio::test]
async fn reads_share_a_connection_and_every_create_has_its_own() {
    let server = Hostile::start(|seen, _| {
        let (code, body) = match (seen.method.as_str(), seen.path.ends_with("/token")) {
            (_, true) => (200, format!(r#"{{"accessToken":"{TOKEN}","expiresIn":3600}}"#)),
            ("POST", false) => (201, record(UUID, "a")),
            _ => (200, "[]".to_owned()),
        };
        let head = format!("HTTP/1.1 {code} X\r\ncontent-length: {}\r\n\r\n", body.len());
        Some(Act::Keep((head + &body).into_bytes()))
    })
    .await;
    let client = server.client();
    for _ in 0..3 {
        client.list(Verbosity::Full).await.unwrap();
        create(&client).await.unwrap();
    }
    let ports = |create: bool| -> std::collections::HashSet<u16> {
        let is_create = |seen: &client_support::Seen| seen.method == "POST" && !seen.path.ends_with("/token");
        server.seen().iter().filter(|seen| is_create(seen) == create).map(|seen| seen.peer).collect()
    };
    assert_eq!(ports(true).len(), 3, "a create never meets a connection that may just be closing");
    assert_eq!(ports(false).len(), 1);
    assert!(ports(true).is_disjoint(&ports(false)));
}

#[tokio::test]
async fn without_a_listener_nothing_was_sent() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = create(&client(&url, limits())).await.unwrap_err();
    assert!(error.certainly_not_sent() && error.reason() == Reason::ConnectionFailed, "{error}");
    assert!(error.user_message().contains("connection was refused"), "{error}");
    let error = create(&client("http://no-such-host.invalid", limits())).await.unwrap_err();
    assert!(error.certainly_not_sent() && error.reason() == Reason::ConnectionFailed, "{error}");
}

/// The token is at hand already, so that the change itself meets the closed port.
#[tokio::test]
async fn a_change_that_met_a_closed_port_was_not_sent() {
    let server = Hostile::start(|_, _| None).await;
    let client = server.client();
    client.refresh_token_now().await.unwrap();
    drop(server);
    client_support::until("the port is closed", || async {
        let error = create(&client).await.unwrap_err();
        error.kind == ErrorKind::Transport(TransportKind::Refused) && error.certainly_not_sent()
    })
    .await;
}

#[derive(Default)]
struct Heard {
    requests: Mutex<Vec<(Operation, Option<u16>)>>,
    tokens: Mutex<Vec<bool>>,
    waited: AtomicBool,
}

impl ClientObserver for Heard {
    fn request(&self, operation: Operation, code: Option<u16>, _: Duration) {
        self.requests.lock().unwrap().push((operation, code));
    }
    fn token_refresh(&self, ok: bool) {
        self.tokens.lock().unwrap().push(ok);
    }
    fn rate_limit_wait(&self, _: Duration) {
        self.waited.store(true, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn the_observer_hears_every_request() {
    let server = Hostile::start(|seen, earlier| (seen.method == "GET" && earlier == 0).then_some(Act::Reset)).await;
    let heard = Arc::new(Heard::default());
    let settings = settings(&secret(&server.url, CLIENT_ID, CLIENT_SECRET), TokenApi::V1, None, limits());
    observed(settings, heard.clone()).list(Verbosity::Full).await.unwrap();
    let list = Operation::ListClusters;
    assert_eq!(*heard.requests.lock().unwrap(), [(Operation::Token, Some(200)), (list, None), (list, Some(200))]);
    assert_eq!(*heard.tokens.lock().unwrap(), [true]);
    assert!(heard.waited.load(Ordering::Relaxed));
}

#[tokio::test]
async fn the_client_itself_prints_no_secret() {
    let server = Hostile::start(|_, _| None).await;
    let client = server.client();
    client.list(Verbosity::Full).await.unwrap();
    let text = format!("{client:?} {:?}", client.settings());
    assert!(CANARIES.iter().all(|canary| !text.contains(canary)), "{text}");
}

#[tokio::test]
async fn ten_thousand_full_records_are_a_normal_list() {
    let filler = "x".repeat(1500);
    let one = |n: usize| {
        let uuid = format!("00000000-0000-4000-8000-{n:012}");
        record(&uuid, &format!("cluster-{n}")).replace(
            '}',
            &format!(",\"status\":{{\"state\":\"Connected\",\"conditions\":[{{\"message\":\"{filler}\"}}]}}}}"),
        )
    };
    let body = format!("[{}]", (0..10_000).map(one).collect::<Vec<_>>().join(","));
    let server = Hostile::always(Act::Reply(json(200, body))).await;
    let client = client(&server.url, client_support::patient());
    let listing = client.list(Verbosity::Full).await.unwrap();
    assert_eq!(listing.clusters.len(), 10_000);
    assert_eq!(listing.clusters[9_999].name, "cluster-9999");
}
