//! Proxies in front of the server: whose word on where a request comes from is believed.
//!
//! Each proxy appends to `X-Forwarded-For` who has spoken to it. Read from the right, the first address that is no trusted proxy's is the client's;
//! everything to the left of it may be invented.

use http::HeaderMap;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// The most proxies one behind the other.
const MOST: usize = 32;

/// See the module's comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proxies {
    /// So many stand one behind the other; 0: nobody is believed.
    Count(usize),
    Networks(Vec<Network>),
}

/// An address with the number of its leading bits that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        let same = |one: u128, other: u128, width: u32| self.bits == 0 || (one ^ other) >> (width - self.bits) == 0;
        match (self.address, address) {
            (IpAddr::V4(one), IpAddr::V4(other)) => same(one.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(one), IpAddr::V6(other)) => same(one.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("'{text}' is neither an address nor a network such as 10.0.0.0/8");
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), str::parse).ok().filter(|bits| *bits <= width).ok_or_else(bad)?;
        Ok(Self { address, bits })
    }
}

impl FromStr for Proxies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(count) = text.trim().parse::<usize>() {
            return if count <= MOST { Ok(Self::Count(count)) } else { Err(format!("at most {MOST} proxies stand one behind the other")) };
        }
        text.split(',').map(|one| one.trim().parse()).collect::<Result<_, _>>().map(Self::Networks)
    }
}

impl Proxies {
    /// Where a request comes from that arrived from `peer`. The port is known only of a peer that is the client itself.
    pub fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        let believed = |passed: usize, address: IpAddr| match self {
            Self::Count(count) => passed < *count,
            Self::Networks(networks) => networks.iter().any(|n| n.contains(address)),
        };
        let mut client = peer.ip().to_canonical();
        for (passed, named) in forwarded(headers).enumerate() {
            match named {
                Some(address) if believed(passed, client) => client = address,
                // The last that a trusted proxy could have meant.
                _ => break,
            }
        }
        if client == peer.ip().to_canonical() { peer } else { SocketAddr::new(client, 0) }
    }
}

/// The addresses of all `X-Forwarded-For`, the last one first; nothing in the place of what is no address.
fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    lines.flat_map(|line| line.to_str().unwrap_or("?").rsplit(',').map(|entry| address(entry.trim())))
}

/// With or without a port.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let parsed = bare.parse().or_else(|_| entry.parse::<SocketAddr>().map(|a| a.ip()));
    parsed.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(proxies: &str, peer: &str, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        let peer = SocketAddr::new(peer.parse().unwrap(), 4711);
        proxies.parse::<Proxies>().unwrap().client(peer, &headers).ip().to_string()
    }

    #[test]
    fn nobody_is_believed_unless_told() {
        assert_eq!(client("0", "10.0.0.1", &["1.2.3.4"]), "10.0.0.1");
        assert_eq!(client("10.0.0.0/8", "192.0.2.9", &["1.2.3.4"]), "192.0.2.9", "not a proxy of ours");
    }

    #[test]
    fn as_many_as_are_trusted_are_passed_from_the_right() {
        let line = ["6.6.6.6, 1.2.3.4, 10.0.0.2"];
        assert_eq!(client("1", "10.0.0.1", &line), "10.0.0.2");
        assert_eq!(client("2", "10.0.0.1", &line), "1.2.3.4");
        assert_eq!(client("2", "10.0.0.1", &["6.6.6.6", "1.2.3.4", "10.0.0.2"]), "1.2.3.4", "several lines are one list");
        assert_eq!(client("5", "10.0.0.1", &["1.2.3.4"]), "1.2.3.4", "fewer than there could be");
    }

    #[test]
    fn the_first_that_is_no_proxy_of_ours_is_the_client() {
        let ours = "10.0.0.0/8, 192.0.2.7,fd00::/8";
        assert_eq!(client(ours, "10.9.9.9", &["6.6.6.6, 1.2.3.4, 192.0.2.7, 10.0.0.2"]), "1.2.3.4");
        assert_eq!(client(ours, "fd12::1", &["[2001:db8::5]:443"]), "2001:db8::5");
        assert_eq!(client(ours, "::ffff:10.0.0.3", &["1.2.3.4:55"]), "1.2.3.4");
        assert_eq!(client(ours, "10.0.0.1", &["1.2.3.4, unknown, 10.0.0.2"]), "10.0.0.2", "nothing is read past what is no address");
        assert_eq!(client(ours, "10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("0.0.0.0/0", "10.0.0.1", &["6.6.6.6, 5.5.5.5"]), "6.6.6.6");
    }

    #[test]
    fn slips_are_named() {
        for bad in ["", "x", "10.0.0.0/33", "10.0.0.0/8,", "99", "::1/129", "-1"] {
            assert!(bad.parse::<Proxies>().is_err(), "{bad}");
        }
    }
}
