use super::*;

fn rewriter(from: &str, to: &str) -> Rewriter {
    Rewriter::new(vec![(Address::parse(from).unwrap(), Address::parse(to).unwrap())]).unwrap()
}

fn text(r: &Rewriter, text: &str) -> String {
    r.text(text.as_bytes()).map_or_else(|| text.to_owned(), |b| String::from_utf8(b).unwrap())
}

#[test]
fn every_written_form_of_the_address_is_found() {
    let r = rewriter("http://old.example.com", "https://new.example.org:8443/shop/");
    let forms = [
        "http://old.example.com",
        "https://old.example.com/a/b?c=d#e",
        "//old.example.com/img.png",
        "HTTP://Old.Example.Com/",
        r#"{"url":"http:\/\/old.example.com\/x","t":"a\nhttp:\/\/old.example.com"}"#,
        r#"{"json":"{\"u\":\"http:\\\/\\\/old.example.com\\\/\"}"}"#,
        "redirect_to=http%3A%2F%2Fold.example.com%2Fwp-admin%2F&x=1",
        "http%3a%2f%2fold.example.com",
        "http%253A%252F%252Fold.example.com%252F",
        "<a href='http://old.example.com'>http://old.example.com.</a>, http://old.example.com, (http://old.example.com)",
        "http://old.example.com。é",
        "http://web.archive.org/web/http://old.example.com/",
    ]
    .map(|form| text(&r, form))
    .join("\n");
    insta::assert_snapshot!(forms);
}

#[test]
fn other_hosts_ports_schemes_and_paths_are_not_the_address() {
    let r = rewriter("http://old.example.com", "https://new.example.org");
    for other in [
        "http://old.example.com.evil.net/",
        "http://old.example.community/",
        "http://old.example.com-backup/",
        "http://sub.old.example.com/",
        "http://old.example.com:8080/",
        "http%3A%2F%2Fold.example.com%3A8080%2F",
        "ftp://old.example.com/",
        "http://old.example.com@evil.net/",
        "user@old.example.com",
        "old.example.com",
        "http:/old.example.com",
        "http:///old.example.com",
    ] {
        assert_eq!(r.text(other.as_bytes()), None, "{other}");
    }
    let port = rewriter("http://127.0.0.1:18080", "http://127.0.0.1:19090");
    assert_eq!(
        text(&port, "http://127.0.0.1:18080/ //127.0.0.1:18080 http%3A%2F%2F127.0.0.1%3A18080"),
        "http://127.0.0.1:19090/ //127.0.0.1:19090 http%3A%2F%2F127.0.0.1%3A19090"
    );
    for other in ["http://127.0.0.1/", "http://127.0.0.1:1808/", "http://127.0.0.1:180801/", "http://127.0.0.11:18080/"] {
        assert_eq!(port.text(other.as_bytes()), None, "{other}");
    }
    let path = rewriter("http://host/blog", "http://host/news");
    assert_eq!(text(&path, r"http://host/blog http://host/blog/1 http:\/\/host\/blog\/"), r"http://host/news http://host/news/1 http:\/\/host\/news\/");
    for other in ["http://host/", "http://host/blogs", "http://host/blog-2", "http://host/blog.html", "http://host/a/blog"] {
        assert_eq!(path.text(other.as_bytes()), None, "{other}");
    }
}

#[test]
fn a_new_address_that_contains_the_old_one_is_written_once() {
    let r = rewriter("http://a.com", "http://a.com/new");
    assert_eq!(text(&r, "http://a.com/x http://a.com"), "http://a.com/new/x http://a.com/new");
    let r = rewriter("http://a.com", "http://b.a.com");
    let once = text(&r, "http://a.com/");
    assert_eq!(text(&r, &once), once, "the new host is not the old one");
}

#[test]
fn the_more_exact_of_two_old_addresses_wins() {
    let parse = |s: &str| Address::parse(s).unwrap();
    let r = Rewriter::new(vec![(parse("http://h"), parse("http://n")), (parse("http://h/wp"), parse("http://n/core"))]).unwrap();
    assert_eq!(text(&r, "http://h/wp/x http://h/y"), "http://n/core/x http://n/y");
    assert!(Rewriter::new(vec![(parse("http://h/"), parse("http://h:80"))]).is_none(), "nothing changes");
}

#[test]
fn stored_values_are_text_json_or_serialised() {
    let r = rewriter("http://old.example.com", "http://new.org");
    let value = |v: &str| r.value(v.as_bytes());
    assert_eq!(value(r#"a:1:{s:1:"u";s:23:"http://old.example.com/";}"#).bytes.unwrap(), br#"a:1:{s:1:"u";s:15:"http://new.org/";}"#);
    assert_eq!(
        value(r#"s:40:"{"u":"http:\/\/old.example.com\/", "n":1}";"#.replace(":40:", ":41:").as_str()).bytes.unwrap(),
        br#"s:33:"{"u":"http:\/\/new.org\/", "n":1}";"#
    );
    assert_eq!(value(r#"a:1:{s:1:"u";s:99:"http://old.example.com/";}"#), Rewritten { bytes: None, malformed: 1 });
    assert_eq!(value(r#"a:1:{s:1:"u";s:99:"http://elsewhere.com/";}"#), Rewritten::default(), "a broken value without the address is not ours to name");
    assert_eq!(value("plain"), Rewritten::default());
}

#[test]
fn addresses_are_parsed_strictly() {
    assert_eq!(Address::parse("HTTPS://Ex.Com:443/a/").unwrap().to_string(), "https://ex.com/a");
    assert_eq!(Address::parse("http://[::1]:8080").unwrap().to_string(), "http://[::1]:8080");
    for bad in ["ex.com", "ftp://ex.com", "http://", "http://u@ex.com", "http://ex.com?x", "http://ex.com:port"] {
        assert_eq!(Address::parse(bad), None, "{bad}");
    }
}
