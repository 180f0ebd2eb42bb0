//! `probe`, against servers that answer what is wanted of them.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::tool::Tool;

/// A server that gives these answers (status line and headers, body), one to each request; returns its address.
fn server(answers: &'static [(&'static str, &'static str)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (head, body) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            let length = body.len();
            write!(stream, "HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").unwrap();
        }
    });
    format!("http://{address}/readyz")
}

#[tokio::test]
async fn it_says_what_the_operator_says() {
    let tool = Tool::alone();
    let said = tool.run(&["probe", &server(&[("200 OK", "ok\n")])]).await.exits(0);
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("ok\n", ""));
    let closed = server(&[("503 Service Unavailable", "waiting for: watches\nwaiting for: lease\n")]);
    let said = tool.run(&["probe", &closed]).await.exits(1);
    said.notes(&["error: 503: waiting for: watches; waiting for: lease"]);
    let elsewhere = server(&[("302 Found\r\nlocation: http://127.0.0.1:1/readyz", "")]);
    tool.run(&["probe", &elsewhere]).await.exits(1).notes(&["error: 302"]);
}

#[tokio::test]
async fn it_asks_again_and_tells_each_answer_once() {
    let tool = Tool::alone();
    let waiting = ("503 Service Unavailable", "waiting for: watches\n");
    let address = server(Box::leak(Box::new([waiting, waiting, ("200 OK", "ok\n")])));
    let said = tool.run(&["probe", "--timeout", "60s", &address]).await.exits(0);
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("ok\n", "503: waiting for: watches\n"));
    let said = tool.run(&["probe", "--timeout", "2s", "http://127.0.0.1:1/readyz"]).await.exits(1);
    said.notes(&["error: no answer: Connection refused"]);
}

#[tokio::test]
async fn it_refuses_what_is_no_address_at_once() {
    let tool = Tool::alone();
    for (address, words) in [
        ("localhost:8081/readyz", "plain http"),
        ("https://operator:8081/readyz", "plain http"),
        ("readyz", "relative"),
    ] {
        let said = tool.run(&["probe", "--timeout", "60s", address]).await.exits(1);
        said.notes(&[words, "it looks like http://HOST:PORT/readyz"]);
    }
}
