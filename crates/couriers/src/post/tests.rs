use super::*;
use domain::Secret;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers from a list, one after the other; the last one again and again.
struct Names(Mutex<Vec<Vec<IpAddr>>>);

#[async_trait::async_trait]
impl Lookup for Names {
    async fn addresses(&self, _name: &str) -> io::Result<Vec<IpAddr>> {
        let mut answers = self.0.lock().unwrap();
        Ok(if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() })
    }
}

fn names(answers: &[&[&str]]) -> Arc<Names> {
    Arc::new(Names(Mutex::new(answers.iter().map(|a| a.iter().map(|ip| ip.parse().unwrap()).collect()).collect())))
}

/// Answers each connection with the next text and then closes it; gives the requests back.
async fn receiver(answers: Vec<String>) -> (SocketAddr, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = String::new();
            while !request.contains("the body") {
                let mut bytes = [0; 4096];
                let read = socket.read(&mut bytes).await.unwrap();
                request.push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
            requests.push(request);
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
        requests
    });
    (at, task)
}

fn answer(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn parcel(url: String) -> Parcel {
    Parcel {
        url,
        headers: vec![("webhook-id".into(), "m1".into())],
        private_headers: vec![("authorization".into(), Secret::new("Bearer receivers-own"))],
        body: "the body".into(),
    }
}

fn posts(allow_private: bool, names: Arc<Names>) -> Posts {
    Posts::new(Policy { allow_private }, names).unwrap()
}

#[tokio::test]
async fn a_post_with_its_headers_and_a_receipt() {
    let (at, requests) = receiver(vec![answer("503 Busy\r\nRetry-After: 7", "try\u{7} later")]).await;
    let receipt = posts(true, names(&[&["127.0.0.1"]])).send(&parcel(format!("http://hook.example:{}/in?x=1", at.port()))).await.unwrap();
    assert_eq!((receipt.status, receipt.retry_after, receipt.excerpt.as_str()), (503, Some(Duration::from_secs(7)), "try\u{fffd} later"));
    let request = requests.await.unwrap().remove(0);
    assert!(
        request.starts_with("POST /in?x=1 HTTP/1.1\r\n")
            && request.contains("webhook-id: m1\r\n")
            && request.contains("authorization: Bearer receivers-own\r\n"),
        "{request}"
    );
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused_even_when_only_one_of_its_addresses_does() {
    for answers in [&["127.0.0.1"][..], &["10.1.2.3"], &["8.8.8.8", "192.168.0.1"], &["::1"], &["::ffff:169.254.169.254"], &["2606:4700::1111", "fd00::1"]] {
        let error = posts(false, names(&[answers])).send(&parcel("http://hook.example/".into())).await.unwrap_err();
        assert!(error.reason.contains("leads inside") && error.reason.contains("hook.example"), "{answers:?}: {}", error.reason);
    }
}

/// Rebinding: there is one look for each connection, and what it was checked to be is what is connected to.
#[tokio::test]
async fn a_name_that_changes_its_mind_is_checked_each_time() {
    let public = "8.8.8.8".parse::<IpAddr>().unwrap();
    let checked = CheckedNames { policy: Policy::default(), names: names(&[&["8.8.8.8"], &["127.0.0.1"], &["8.8.8.8"]]) };
    let resolve = || reqwest::dns::Resolve::resolve(&checked, "hook.example".parse().unwrap());
    assert_eq!(resolve().await.unwrap().map(|a| a.ip()).collect::<Vec<_>>(), [public]);
    assert!(resolve().await.is_err());
    assert_eq!(resolve().await.unwrap().count(), 1);

    let (at, requests) = receiver(vec![answer("200 OK", "")]).await;
    let twice = names(&[&["127.0.0.1"], &["127.0.0.2"], &["127.0.0.3"]]);
    posts(true, twice.clone()).send(&parcel(format!("http://hook.example:{}/", at.port()))).await.unwrap();
    assert_eq!((requests.await.unwrap().len(), twice.0.lock().unwrap().len()), (1, 2), "one connection, one look");
}

#[tokio::test]
async fn redirects_are_followed_with_the_body_and_each_hop_is_checked() {
    let (second, second_requests) = receiver(vec![answer("200 OK", "thanks")]).await;
    let (first, first_requests) = receiver(vec![answer(&format!("307 Go\r\nLocation: http://other.example:{}/there", second.port()), "")]).await;
    let receipt = posts(true, names(&[&["127.0.0.1"]])).send(&parcel(format!("http://hook.example:{}/", first.port()))).await.unwrap();
    assert_eq!((receipt.status, receipt.excerpt.as_str()), (200, "thanks"));
    assert!(first_requests.await.unwrap()[0].contains("receivers-own"));
    let redirected = second_requests.await.unwrap().remove(0);
    assert!(redirected.starts_with("POST /there") && redirected.contains("the body") && redirected.contains("webhook-id"), "{redirected}");
    assert!(!redirected.contains("receivers-own"), "another host gets no private header");
}

#[tokio::test]
async fn redirects_lead_neither_inside_nor_to_another_scheme_nor_on_for_ever() {
    let cases = [
        ("http://169.254.169.254/latest/meta-data", "cloud's own service"),
        ("http://0xa9fea9fe/", "cloud's own service"),
        ("https://hook.example/", "from http to https"),
        ("file:///etc/passwd", "from http to file"),
        ("http://user:pw@hook.example/", "user or password"),
        ("http://hook.example:0/", "port 0"),
    ];
    for (location, expected) in cases {
        let (at, _requests) = receiver(vec![answer(&format!("302 Go\r\nLocation: {location}"), "")]).await;
        let error = posts(true, names(&[&["127.0.0.1"]])).send(&parcel(format!("http://hook.example:{}/", at.port()))).await.unwrap_err();
        assert!(error.reason.contains(expected) && !error.temporary, "{location}: {}", error.reason);
    }
    let (at, _requests) = receiver(vec![answer("308 Go\r\nLocation: /again", ""); 4]).await;
    let error = posts(true, names(&[&["127.0.0.1"]])).send(&parcel(format!("http://hook.example:{}/", at.port()))).await.unwrap_err();
    assert!(error.reason.contains("more than 3 times"), "{}", error.reason);
}

#[tokio::test]
async fn nobody_there_is_temporary_and_names_the_place_without_the_path() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = posts(true, names(&[&["127.0.0.1"]])).send(&parcel(format!("http://hook.example:{}/secret-path?token=secret", free.port()))).await.unwrap_err();
    assert!(error.temporary && error.reason.contains("http://hook.example") && !error.reason.contains("secret"), "{}", error.reason);
}

#[test]
fn rests_in_seconds_and_as_a_date() {
    let now: Timestamp = "2015-10-21T07:27:00Z".parse().unwrap();
    assert_eq!(rest("120", now), Some(Duration::from_mins(2)));
    assert_eq!(rest("Wed, 21 Oct 2015 07:28:00 GMT", now), Some(Duration::from_mins(1)));
    assert_eq!(rest("Wed, 21 Oct 2015 07:20:00 GMT", now), Some(Duration::ZERO));
    assert_eq!(rest("99999999999", now), Some(LONGEST_REST));
    assert_eq!(rest("soon", now), None);
}
