//! Which addresses may be spoken to on a caller's word: public ones, and private ones only where the operator allows them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use url::{Host, Url};

/// Longer addresses are refused.
const LONGEST: usize = 2048;

/// What an IP address is to somebody who may only talk to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Public,
    /// Inside: the operator may allow it. The word says what it is.
    Private(&'static str),
    /// Nobody's receiver, such as a cloud's metadata service: refused always.
    Never(&'static str),
}

/// What the operator allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// `--allow-private-webhooks`
    pub allow_private: bool,
}

impl Policy {
    /// Why this IP address may not be connected to; `None`: it may.
    pub fn refuses(self, ip: IpAddr) -> Option<String> {
        match judge(ip) {
            Verdict::Public => None,
            Verdict::Private(_) if self.allow_private => None,
            Verdict::Private(what) => {
                Some(format!("{ip} is {what}, and private addresses are refused unless the service is started with --allow-private-webhooks"))
            }
            Verdict::Never(what) => Some(format!("{ip} is {what}, which is always refused")),
        }
    }

    /// Reads an address as the HTTP client will, and refuses everything that is known to be wrong before any name is looked up.
    ///
    /// # Errors
    /// What is wrong with it, as the rest of a sentence about it.
    pub fn read(self, text: &str) -> Result<Url, String> {
        if text.len() > LONGEST {
            return Err(format!("must be at most {LONGEST} characters long"));
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
            return Err("must not contain blanks, control characters or backslashes".to_owned());
        }
        // The parser would forgive `http:host` and `http:///host`; other programs read them in their own ways.
        if text.split_once("://").is_none_or(|(_, rest)| rest.starts_with('/')) {
            return Err("is not an address such as https://host/path".to_owned());
        }
        let url = Url::parse(text).map_err(|e| format!("is not an address such as https://host/path: {e}"))?;
        self.check(&url)?;
        Ok(url)
    }

    /// The same for an address that is read already, such as that of a redirect.
    pub(crate) fn check(self, url: &Url) -> Result<(), String> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("must start with https:// or http://, not {}:", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not contain a user or password; send them in a header".to_owned());
        }
        if url.port() == Some(0) {
            return Err("must not name port 0".to_owned());
        }
        let ip = match url.host() {
            None => return Err("must name a host".to_owned()),
            Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
            Some(Host::Ipv6(ip)) => IpAddr::V6(ip),
            Some(Host::Domain(name)) if is_local_name(name) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Some(Host::Domain(_)) => return Ok(()),
        };
        self.refuses(ip).map_or(Ok(()), |why| Err(format!("leads inside: {why}")))
    }
}

/// `localhost` and everything below it, with or without the final dot.
fn is_local_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name == "localhost.localdomain" || name == "ip6-localhost" || name == "ip6-loopback"
}

/// What this address is, seen through every way of writing an IPv4 address into an IPv6 one.
pub fn judge(ip: IpAddr) -> Verdict {
    match ip {
        IpAddr::V4(ip) => v4(ip),
        IpAddr::V6(ip) => v6(ip),
    }
}

fn v4(ip: Ipv4Addr) -> Verdict {
    match ip.octets() {
        [169, 254, 169, 253 | 254] | [169, 254, 170, 2 | 23] | [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16] => {
            Verdict::Never("a cloud's own service for its machines")
        }
        [0, ..] => Verdict::Never("no host's address"),
        [224..=239, ..] => Verdict::Never("a multicast address"),
        [240..=255, ..] => Verdict::Never("a reserved or broadcast address"),
        [127, ..] => Verdict::Private("this machine's own (loopback)"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Verdict::Private("private"),
        [169, 254, ..] => Verdict::Private("link-local"),
        [100, 64..=127, ..] => Verdict::Private("shared by a provider's customers (CGNAT)"),
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [192, 88, 99, _] => Verdict::Private("reserved for protocols and documentation"),
        [198, 18 | 19, ..] => Verdict::Private("for benchmarks"),
        _ => Verdict::Public,
    }
}

fn v6(ip: Ipv6Addr) -> Verdict {
    let s = ip.segments();
    let tail = embedded(s[6], s[7]);
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0] => Verdict::Never("no host's address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Verdict::Private("this machine's own (loopback)"),
        // IPv4-mapped, and NAT64's well-known prefix: what an IPv4 host looks like from here.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => v4(tail),
        // IPv4-compatible, IPv4-translated, NAT64 of a site: nobody's public receiver.
        [0, 0, 0, 0, 0 | 0xffff, 0, ..] | [0x64, 0xff9b, 1, ..] => inside(tail, "an IPv4 address in disguise"),
        [0xff00..=0xffff, ..] => Verdict::Never("a multicast address"),
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => Verdict::Never("a cloud's own service for its machines"),
        [0xfc00..=0xfdff, ..] => Verdict::Private("private (unique local)"),
        [0xfe80..=0xfebf, ..] => Verdict::Private("link-local"),
        [0xfec0..=0xfeff, ..] => Verdict::Private("private (site-local)"),
        // 6to4 has the IPv4 address behind its prefix, Teredo its complement at the end, ISATAP a mark before it.
        [0x2002, high, low, ..] => inside(embedded(high, low), "a 6to4 tunnel"),
        [0x2001, 0, ..] => inside(embedded(!s[6], !s[7]), "a Teredo tunnel"),
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => inside(tail, "an ISATAP tunnel"),
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Verdict::Private("reserved for protocols and documentation"),
        [0x2000..=0x3fff, ..] => Verdict::Public,
        _ => Verdict::Private("not in use on the Internet"),
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

/// A disguise is private at best; what it hides may be worse.
fn inside(hidden: Ipv4Addr, what: &'static str) -> Verdict {
    match v4(hidden) {
        Verdict::Never(worse) => Verdict::Never(worse),
        Verdict::Private(_) | Verdict::Public => Verdict::Private(what),
    }
}

#[cfg(test)]
mod tests;
