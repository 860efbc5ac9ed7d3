//! A network of sites (multisite) that changes its address: the bare domains and paths that WordPress keeps beside whole addresses.
//!
//! A site of the network lives below the network's path, or on a sub-domain of its domain; both follow the network. A site with a
//! domain of its own keeps it: where that points to is not ours to say.

use super::address::Address;
use serde::{Deserialize, Serialize};

/// The tables that hold a domain and a path in each row, without the prefix.
const TABLES: [&str; 3] = ["blogs", "site", "signups"];

/// A bare domain (with its port, if it has one) and a path that begins and ends with `/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub domain: String,
    pub path: String,
}

impl Place {
    /// As WordPress stores it.
    pub fn of(address: &Address) -> Self {
        let port = address.port.map(|p| format!(":{p}")).unwrap_or_default();
        Self { domain: format!("{}{port}", address.host), path: format!("{}/", address.path) }
    }

    /// The address of the site that lives there.
    pub fn address(&self, scheme: &str) -> Option<Address> {
        Address::parse(&format!("{scheme}://{}{}", self.domain, self.path))
    }

    /// The domain that sub-domains are made of: WordPress leaves `www.` out.
    fn base(&self) -> &str {
        self.domain.strip_prefix("www.").unwrap_or(&self.domain)
    }
}

/// Where a network was and where it will be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    pub from: Place,
    pub to: Place,
}

impl Network {
    /// Where a site of the network goes; `None` for one with a domain of its own.
    pub fn moved(&self, domain: &str, path: &str) -> Option<Place> {
        let lower = domain.to_ascii_lowercase();
        let domain = if lower == self.from.domain || lower == self.from.base() {
            self.to.domain.clone()
        } else {
            let label = lower.strip_suffix(self.from.base())?.strip_suffix('.')?;
            format!("{label}.{}", self.to.base())
        };
        let path = path.strip_prefix(&self.from.path).map_or_else(|| path.to_owned(), |rest| format!("{}{rest}", self.to.path));
        Some(Place { domain, path })
    }

    /// The new value of a constant of `wp-config.php`; `None` when it stays.
    pub fn constant(&self, name: &str, value: &str) -> Option<String> {
        let new = match name {
            "DOMAIN_CURRENT_SITE" => self.moved(value, &self.from.path)?.domain,
            "PATH_CURRENT_SITE" if value == self.from.path => self.to.path.clone(),
            "COOKIE_DOMAIN" => {
                let (dot, bare) = value.strip_prefix('.').map_or(("", value), |bare| (".", bare));
                let host = |place: &Place| place.domain.split(':').next().unwrap_or_default().to_owned();
                let known = [host(&self.from), self.from.base().split(':').next().unwrap_or_default().to_owned()];
                known.iter().any(|k| k == bare).then(|| format!("{dot}{}", host(&self.to)))?
            }
            _ => return None,
        };
        (new != value).then_some(new)
    }

    /// Whether rows of this table (named without the prefix) hold a domain and a path.
    pub fn has_places(table: &str) -> bool {
        TABLES.contains(&table)
    }
}

/// The constants that [`Network::constant`] knows.
pub const CONSTANTS: [&str; 3] = ["DOMAIN_CURRENT_SITE", "PATH_CURRENT_SITE", "COOKIE_DOMAIN"];

/// Why a network cannot live at this address; `None` when it can. `subdomains`: its sites are on sub-domains.
pub fn refusal(to: &Address, subdomains: bool) -> Option<String> {
    if !subdomains {
        return None;
    }
    let bare = to.host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok() || to.host == "localhost";
    match (bare, to.path.is_empty()) {
        (true, _) => Some(format!("its sites live on sub-domains, and '{}' can have none", to.host)),
        (false, false) => Some(format!("its sites live on sub-domains, so it must be at the top of its host and not below '{}'", to.path)),
        (false, true) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(from: &str, to: &str) -> Network {
        let place = |text: &str| Place::of(&Address::parse(text).unwrap());
        Network { from: place(from), to: place(to) }
    }

    #[test]
    fn sites_follow_their_network_by_path_and_by_sub_domain() {
        for (from, to, site, moved) in [
            ("http://old.test", "https://new.test", ("old.test", "/"), Some(("new.test", "/"))),
            ("http://old.test", "https://new.test/shop", ("old.test", "/two/"), Some(("new.test", "/shop/two/"))),
            ("http://old.test:8080/net", "https://new.test", ("old.test:8080", "/net/two/"), Some(("new.test", "/two/"))),
            ("http://www.old.test", "https://www.new.test", ("two.old.test", "/"), Some(("two.new.test", "/"))),
            ("http://www.old.test", "https://new.test", ("www.old.test", "/"), Some(("new.test", "/"))),
            ("http://old.test:81", "https://new.test:82", ("A.b.Old.test:81", "/"), Some(("a.b.new.test:82", "/"))),
            ("http://old.test", "https://new.test", ("own.example", "/"), None),
            ("http://old.test", "https://new.test", ("notold.test", "/"), None),
        ] {
            let found = network(from, to).moved(site.0, site.1);
            assert_eq!(found.as_ref().map(|p| (p.domain.as_str(), p.path.as_str())), moved, "{from} → {to}: {site:?}");
        }
    }

    #[test]
    fn constants_of_the_configuration() {
        let network = network("http://old.test", "https://new.test/shop");
        for (name, value, new) in [
            ("DOMAIN_CURRENT_SITE", "old.test", Some("new.test")),
            ("DOMAIN_CURRENT_SITE", "other.test", None),
            ("PATH_CURRENT_SITE", "/", Some("/shop/")),
            ("PATH_CURRENT_SITE", "/odd/", None),
            ("COOKIE_DOMAIN", ".old.test", Some(".new.test")),
            ("COOKIE_DOMAIN", "", None),
            ("DB_NAME", "old.test", None),
        ] {
            assert_eq!(network.constant(name, value).as_deref(), new, "{name} {value}");
        }
    }

    #[test]
    fn a_network_on_sub_domains_needs_a_host_that_can_have_some() {
        let to = |text: &str| refusal(&Address::parse(text).unwrap(), true).is_some();
        assert!(to("https://new.test/shop") && to("http://127.0.0.1") && to("http://localhost:81") && to("http://[::1]"));
        assert!(!to("https://new.test") && refusal(&Address::parse("https://new.test/x").unwrap(), false).is_none());
    }
}
