//! Against a server of our own on a loopback address.

use super::*;
use domain::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers every request with what `answer` gives for its path, and remembers the requests; its address.
async fn server(answer: fn(&str) -> Vec<u8>) -> (String, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (heard, requests) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut request, mut piece) = (Vec::new(), [0; 4096]);
            while !String::from_utf8_lossy(&request).ends_with("the body") {
                let n = stream.read(&mut piece).await.unwrap();
                assert!(n > 0, "the request broke off");
                request.extend_from_slice(&piece[..n]);
            }
            let request = String::from_utf8(request).unwrap();
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let _gone = heard.send(request);
            let _sent_or_gone = stream.write_all(&answer(&path)).await;
        }
    });
    (address, requests)
}

fn page(path: &str) -> Vec<u8> {
    let answer = |head: &str, body: &str| format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes();
    match path {
        "/good" => answer("200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2", "said"),
        "/refused" => answer("403 Forbidden", "why"),
        "/moved" => answer("307 Temporary Redirect\r\nLocation: /good", ""),
        "/huge" => b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 99999999999\r\n\r\nx".to_vec(),
        "/endless" => [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec(), vec![b'x'; LONGEST + 1]].concat(),
        "/short" => b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 50\r\n\r\nx".to_vec(),
        _ => Vec::new(),
    }
}

fn call(url: String) -> Call {
    Call { url, headers: vec![("authorization".to_owned(), Secret::new("canary"))], body: Secret::new("the body") }
}

#[tokio::test]
async fn an_answer_comes_whole_or_not_at_all() {
    let (at, mut heard) = server(page).await;
    let open = Exchanger::new(Policy { allow_private: true }, None).unwrap();
    let good = open.post(call(format!("{at}/good"))).await.unwrap();
    assert_eq!((good.status, good.cookies, good.body.as_slice()), (200, vec!["a=1; Path=/".to_owned(), "b=2".to_owned()], b"said".as_slice()));
    assert!(heard.recv().await.unwrap().contains("authorization: canary\r\n"));
    let refused = open.post(call(format!("{at}/refused"))).await.unwrap();
    assert_eq!((refused.status, refused.body.as_slice()), (403, b"why".as_slice()));
    let rows = [("/huge", ErrorKind::Protocol), ("/endless", ErrorKind::Protocol), ("/short", ErrorKind::Interrupted), ("/nothing", ErrorKind::Unreachable)];
    for (path, kind) in rows {
        let error = open.post(call(format!("{at}{path}"))).await.unwrap_err();
        assert!(error.kind == kind && !error.to_string().contains("canary"), "{path}: {error}");
    }
}

#[tokio::test]
async fn credentials_go_nowhere_else() {
    let (at, mut heard) = server(page).await;
    let open = Exchanger::new(Policy { allow_private: true }, None).unwrap();
    assert_eq!(open.post(call(format!("{at}/moved"))).await.unwrap().status, 307);
    assert!(heard.recv().await.unwrap().starts_with("POST /moved "));
    let closed = Exchanger::new(Policy::default(), None).unwrap();
    for url in [format!("{at}/good"), "https://169.254.169.254/".to_owned(), "https://localhost/".to_owned(), "file:///etc/passwd".to_owned()] {
        let error = closed.post(call(url.clone())).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Permission, "{url}: {error}");
    }
    assert!(heard.try_recv().is_err(), "nothing was sent behind the redirect or against the policy");
}

#[test]
fn what_is_no_certificate_is_refused() {
    for pem in ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert!(Exchanger::new(Policy::default(), Some(pem)).is_err(), "{pem}");
    }
}
