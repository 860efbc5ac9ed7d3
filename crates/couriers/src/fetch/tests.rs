//! Against a server of our own on a loopback address.

use super::*;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;

/// Answers each path with what `answer` gives; its address.
async fn server(answer: fn(&str) -> String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = String::new();
            BufReader::new(&mut stream).read_line(&mut request).await.unwrap();
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let _sent_or_gone = stream.write_all(answer(&path).as_bytes()).await;
        }
    });
    address
}

fn page(path: &str) -> String {
    match path {
        "/image" => "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nimage".to_owned(),
        "/short" => "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 50\r\n\r\nimage".to_owned(),
        "/moved" => "HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: /image\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "/inside" => "HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "/round" => "HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: /round\r\nContent-Length: 0\r\n\r\n".to_owned(),
        _ => "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_owned(),
    }
}

#[tokio::test]
async fn files_come_whole_or_not_at_all() {
    let at = server(page).await;
    let open = Fetcher::new(Policy { allow_private: true }).unwrap();
    for path in ["/image", "/moved"] {
        let mut found = Vec::new();
        open.fetch(&format!("{at}{path}"), &mut found).await.unwrap();
        assert_eq!(found, b"image");
    }
    let rows = [("/short", ErrorKind::Interrupted), ("/inside", ErrorKind::Permission), ("/round", ErrorKind::Permission), ("/none", ErrorKind::NotFound)];
    for (path, kind) in rows {
        let error = open.fetch(&format!("{at}{path}"), &mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind, kind, "{path}: {error}");
    }
    let closed = Fetcher::new(Policy::default()).unwrap();
    let error = closed.fetch(&format!("{at}/image"), &mut Vec::new()).await.unwrap_err();
    assert!(error.kind == ErrorKind::Permission && error.to_string().contains("loopback"), "{error}");
}
