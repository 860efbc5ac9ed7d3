//! Reading XML that somebody else wrote: no entities of its own, no endless trees; names without their namespaces.

use ports::{ConnectorError, ErrorKind, Result};
use roxmltree::{Document, Node, ParsingOptions};

/// More elements and texts than any honest answer has.
const NODES: u32 = 2_000_000;

/// The bytes as text, or why they are none.
pub fn text<'a>(bytes: &'a [u8], subject: &str) -> Result<&'a str> {
    std::str::from_utf8(bytes).map_err(|e| strange(subject, "is not UTF-8").because(e))
}

/// The document. A document type, and so an entity of its own, is refused.
pub fn parse<'a>(text: &'a str, subject: &str) -> Result<Document<'a>> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: NODES, ..ParsingOptions::default() };
    Document::parse_with_options(text, options).map_err(|e| strange(subject, "is not XML that we read").because(e))
}

/// An answer that has not the form that the interface promises.
pub fn strange(subject: &str, what: &str) -> ConnectorError {
    ConnectorError::new(ErrorKind::Protocol, "ask", subject, format!("what it answered {what}"))
        .advice("Check that the endpoint is that of the cloud itself, not of a proxy or a web page")
}

/// All child elements with this name.
pub fn children<'a, 'i: 'a>(of: Node<'a, 'i>, name: &'a str) -> impl Iterator<Item = Node<'a, 'i>> + 'a {
    of.children().filter(move |n| n.is_element() && n.tag_name().name() == name)
}

/// The first child at the end of a path of names.
pub fn at<'a, 'i: 'a>(of: Node<'a, 'i>, path: &[&str]) -> Option<Node<'a, 'i>> {
    let mut found = of;
    for name in path {
        found = found.children().find(|n| n.is_element() && n.tag_name().name() == *name)?;
    }
    Some(found)
}

/// Its text, if there is any.
pub fn word(of: Node<'_, '_>, path: &[&str]) -> Option<String> {
    at(of, path)?.text().map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned)
}

/// Every `item` in a list of AWS' Query interface.
pub fn items<'a, 'i: 'a>(of: Node<'a, 'i>, list: &str) -> impl Iterator<Item = Node<'a, 'i>> + use<'a, 'i> {
    at(of, &[list]).into_iter().flat_map(|l| children(l, "item"))
}

/// A text for the inside of an element; `None` when XML cannot hold it.
pub fn escaped(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\t' | '\n' | '\r' => out.push_str(&format!("&#{};", c as u32)),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => return None,
            other => out.push(other),
        }
    }
    Some(out)
}

/// Words of the other side for a message: short, printable.
pub fn quoted(text: &str) -> String {
    text.chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bombs_are_refused() {
        let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]><x>&b;</x>";
        for text in [bomb, "", "<x>", "<html><br></html>", "{\"no\": \"XML\"}", "<x>&unknown;</x>"] {
            assert_eq!(parse(text, "s").unwrap_err().kind, ErrorKind::Protocol, "{text}");
        }
        let many = format!("<x>{}</x>", "<y/>".repeat(NODES as usize + 1));
        assert!(parse(&many, "s").is_err());
        let deep = format!("{}{}", "<x>".repeat(200_000), "</x>".repeat(200_000));
        drop(parse(&deep, "s"));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let nasty = "a&b<c>d]]>\"'\r\n\té\u{1f600} ";
        let text = format!("<x>{}</x>", escaped(nasty).unwrap());
        assert_eq!(parse(&text, "s").unwrap().root_element().text(), Some(nasty));
        assert_eq!(escaped("a\u{1}b"), None);
    }
}
