//! What a workload is known by: an IPv4 address, an IPv6 address or a host name.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// One spelling for every address, so that `2001:DB8::0:1` and `[2001:db8::1]` are the same workload. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(String);

impl Address {
    /// Reads any usual spelling. The error says what is wrong with it.
    ///
    /// Names follow RFC 1123: labels of letters, digits and hyphens, 63 each and 253 in all.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("must not be empty".to_owned());
        }
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        if let Some(inside) = bare {
            return inside.parse::<Ipv6Addr>().map(|ip| Self(ip.to_canonical().to_string())).map_err(|_| format!("'{text}' is not an IPv6 address"));
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self(ip.to_canonical().to_string()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let numeric = name.split('.').next_back().is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
        if numeric || name.len() > 253 || !name.split('.').all(is_label) {
            return Err(format!("'{}' is not an IPv4 address, an IPv6 address or a host name", text.escape_default()));
        }
        Ok(Self(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_label(label: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=63).contains(&label.len()) && label.bytes().all(allowed) && !label.starts_with('-') && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_address_are_one() {
        for (text, expected) in [
            ("192.168.1.1", "192.168.1.1"),
            (" 10.0.0.1 ", "10.0.0.1"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("[::FFFF:a00:1]", "10.0.0.1"),
            ("Web-01.Example.COM.", "web-01.example.com"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(Address::parse(text).unwrap().as_str(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "  ", "999.1.1.1", "1.2.3", "a b", "http://x", "x/y", "-a", "a-", "a..b", "user@host", "host:22", "[::1", "[10.0.0.1]", "a\nb"] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
        assert!(Address::parse(&"a".repeat(64)).is_err());
        assert!(Address::parse(&["abc"; 80].join(".")).is_err());
    }
}
