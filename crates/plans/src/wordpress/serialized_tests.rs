use super::*;
use proptest::prelude::*;

fn change(text: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8(text.to_vec()).ok()?;
    text.contains("old.example").then(|| text.replace("old.example", "new.example.org").into_bytes())
}

fn rewritten(value: &str) -> String {
    let out = rewrite(value.as_bytes(), &change);
    assert_eq!(out.malformed, 0, "{value}");
    String::from_utf8(out.bytes.unwrap_or_else(|| value.as_bytes().to_vec())).unwrap()
}

#[test]
fn lengths_follow_the_new_bytes_in_every_kind_of_value() {
    let cases = [
        r#"s:18:"http://old.example";"#,
        r#"a:2:{s:3:"url";s:21:"http://old.example/é";i:7;b:1;}"#,
        r#"a:1:{s:18:"http://old.example";d:0.5;}"#,
        r#"O:8:"stdClass":2:{s:4:"home";s:18:"http://old.example";s:4:"self";r:1;}"#,
        r#"a:2:{i:0;O:3:"A\B":1:{s:1:"u";s:11:"old.example";}i:1;R:2;}"#,
        r#"a:1:{i:0;a:1:{i:0;a:2:{s:1:"n";N;s:1:"d";d:-1.0E+25;}}}"#,
        r#"a:1:{i:0;E:11:"Suit:Hearts";}"#,
        r#"a:1:{s:5:"inner";s:44:"a:1:{s:3:"url";s:18:"http://old.example";}";}"#.replace(":44:", ":42:").as_str(),
        "  s:11:\"old.example\";\n",
    ]
    .map(rewritten)
    .join("\n");
    insta::assert_snapshot!(cases);
}

#[test]
fn protected_properties_and_custom_payloads_keep_their_form() {
    let object = "O:1:\"A\":1:{s:4:\"\0*\0u\";s:11:\"old.example\";}";
    assert_eq!(rewritten(object), "O:1:\"A\":1:{s:4:\"\0*\0u\";s:15:\"new.example.org\";}");
    let custom = r#"C:1:"A":18:{s:11:"old.example";}"#.replace(":18:", ":19:");
    assert_eq!(rewritten(&custom), r#"C:1:"A":23:{s:15:"new.example.org";}"#);
    let opaque = rewrite(br#"C:1:"A":15:{x=old.example;1}"#.as_slice(), &change);
    assert_eq!(opaque, Rewritten { bytes: None, malformed: 1 }, "a payload in a form of its own is named, not touched");
}

#[test]
fn what_php_cannot_read_is_left_byte_for_byte_and_counted() {
    for broken in [
        r#"s:99:"http://old.example";"#,
        r#"a:2:{s:3:"url";s:18:"http://old.example";}"#,
        r#"a:1:{s:3:"url";s:18:"http://old.example";"#,
        r#"a:1:{s:3:"url";s:18:"http://old.example";}x"#,
        r#"s:18446744073709551615:"http://old.example";"#,
        r#"a:1:{a:0:{}s:11:"old.example";}"#,
        "a:1:{i:0;b:2;}",
    ] {
        assert_eq!(rewrite(broken.as_bytes(), &change), Rewritten { bytes: None, malformed: 1 }, "{broken}");
    }
}

#[test]
fn a_broken_value_inside_a_sound_one_stays_while_the_rest_changes() {
    let out = rewrite(br#"a:2:{i:0;s:15:"s:5:"old.exam";";i:1;s:11:"old.example";}"#, &change);
    assert_eq!(out.malformed, 1);
    assert_eq!(out.bytes.as_deref(), Some(br#"a:2:{i:0;s:15:"s:5:"old.exam";";i:1;s:15:"new.example.org";}"#.as_slice()));
}

#[test]
fn nesting_beyond_all_reason_is_malformed_not_a_crash() {
    let deep = "a:1:{i:0;".repeat(100_000) + "N;" + &"}".repeat(100_000);
    assert_eq!(rewrite(deep.as_bytes(), &change).malformed, 1);
}

#[test]
fn ordinary_text_does_not_look_serialised() {
    for text in ["", "a:b", "s: 5", "http://old.example", "a:1:x", "i:5;", "N;", "b:1;", "{\"a\":1}", "s:x:\"\""] {
        assert!(!looks_serialized(text.as_bytes()), "{text}");
    }
}

/// A value and its serialised form, as PHP writes it.
#[derive(Debug, Clone)]
enum Php {
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
    Array(Vec<(i64, Php)>),
    Object(Vec<(String, Php)>),
    Nested(Box<Php>),
}

fn serialize(value: &Php, old: &str) -> String {
    let text = |s: &str| format!("s:{}:\"{s}\";", s.len());
    match value {
        Php::Null => "N;".to_owned(),
        Php::Bool(b) => format!("b:{};", i32::from(*b)),
        Php::Int(i) => format!("i:{i};"),
        Php::Text(s) => text(&s.replace('@', old)),
        Php::Array(items) => {
            let body = items.iter().fold(String::new(), |all, (k, v)| all + &format!("i:{k};") + &serialize(v, old));
            format!("a:{}:{{{body}}}", items.len())
        }
        Php::Object(items) => {
            format!("O:8:\"stdClass\":{}:{{{}}}", items.len(), items.iter().map(|(k, v)| text(k) + &serialize(v, old)).collect::<String>())
        }
        Php::Nested(inner) => text(&serialize(inner, old)),
    }
}

fn php() -> impl Strategy<Value = Php> {
    let leaf = prop_oneof![Just(Php::Null), any::<bool>().prop_map(Php::Bool), any::<i64>().prop_map(Php::Int), "[a-zé😀\"@ ]{0,12}".prop_map(Php::Text)];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec((any::<i64>(), inner.clone()), 0..4).prop_map(Php::Array),
            prop::collection::vec(("[a-z]{1,5}", inner.clone()), 0..4).prop_map(Php::Object),
            inner.prop_map(|v| Php::Nested(Box::new(v))),
        ]
    })
}

proptest! {
    /// Rewriting the serialised form is serialising the rewritten value.
    #[test]
    fn rewriting_commutes_with_serialising(value in php()) {
        let before = serialize(&Php::Array(vec![(0, value.clone())]), "old.example");
        let after = serialize(&Php::Array(vec![(0, value)]), "new.example.org");
        let out = rewrite(before.as_bytes(), &change);
        prop_assert_eq!(out.malformed, 0);
        prop_assert_eq!(out.bytes.unwrap_or_else(|| before.into_bytes()), after.into_bytes());
    }

    /// Whatever bytes come, nothing panics, and a malformed value never changes.
    #[test]
    fn damaged_values_are_left_alone(value in php(), cut in 0usize..200, byte in any::<u8>()) {
        let mut bytes = serialize(&Php::Array(vec![(0, value)]), "old.example").into_bytes();
        let at = cut % bytes.len();
        bytes[at] = byte;
        let out = rewrite(&bytes, &change);
        prop_assert!(out.malformed > 0 || out.bytes.is_none() || rewrite(out.bytes.as_ref().unwrap(), &|_| None).malformed == 0);
        let _ = rewrite(&bytes[..at], &change);
    }
}
