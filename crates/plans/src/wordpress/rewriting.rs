//! Everything that changes inside the stored values of a site that moves: addresses anywhere, and the few cells whose whole value
//! is a place (a network's domains, the directory of uploads).

use super::address::Rewriter;
use super::network::Network;
use super::serialized::Rewritten;

/// The value of the option `upload_path`, before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadPath {
    pub from: String,
    pub to: String,
}

/// Pure; the same row always gives the same result.
#[derive(Debug, Clone, Default)]
pub struct Rewriting {
    /// `$table_prefix`.
    pub prefix: String,
    pub addresses: Option<Rewriter>,
    pub network: Option<Network>,
    pub uploads: Option<UploadPath>,
}

impl Rewriting {
    pub fn is_empty(&self) -> bool {
        self.addresses.is_none() && self.network.is_none() && self.uploads.is_none()
    }

    /// Texts of which a row of this table must contain one to be worth reading.
    pub fn needles(&self, table: &str) -> Vec<String> {
        let mut needles = self.addresses.as_ref().map(Rewriter::needles).unwrap_or_default();
        needles.extend(self.uploads.iter().filter(|_| self.has_options(table)).map(|u| u.from.clone()));
        if let Some(network) = self.network.as_ref().filter(|_| self.has_places(table)) {
            needles.push(network.from.domain.clone());
        }
        needles.sort();
        needles.dedup();
        needles
    }

    fn has_places(&self, table: &str) -> bool {
        table.strip_prefix(&self.prefix).is_some_and(Network::has_places)
    }

    /// `wp_options`, and `wp_2_options` of a network's second site.
    fn has_options(&self, table: &str) -> bool {
        let Some(rest) = table.strip_prefix(&self.prefix).and_then(|t| t.strip_suffix("options")) else { return false };
        rest.is_empty() || rest.strip_suffix('_').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    }

    /// A value as it stands in a column or a file.
    pub fn value(&self, value: &[u8]) -> Rewritten {
        self.addresses.as_ref().map(|a| a.value(value)).unwrap_or_default()
    }

    pub fn text(&self, text: &[u8]) -> Option<Vec<u8>> {
        self.addresses.as_ref().and_then(|a| a.text(text))
    }

    /// The cells of a row that are replaced as a whole: their positions and new values.
    pub fn whole_cells(&self, table: &str, columns: &[String], values: &[Option<Vec<u8>>]) -> Vec<(usize, Vec<u8>)> {
        let cell = |name: &str| {
            let at = columns.iter().position(|c| c == name)?;
            Some((at, std::str::from_utf8(values.get(at)?.as_deref()?).ok()?))
        };
        let mut out = Vec::new();
        if let (Some(network), Some(domain), Some(path), true) = (&self.network, cell("domain"), cell("path"), self.has_places(table))
            && let Some(place) = network.moved(domain.1, path.1)
        {
            out.extend([(domain, place.domain), (path, place.path)].into_iter().filter(|(old, new)| old.1 != new).map(|(old, new)| (old.0, new.into_bytes())));
        }
        // Where a user was first seen.
        if let (Some(network), Some(key), Some(value)) = (&self.network, cell("meta_key"), cell("meta_value"))
            && table.strip_prefix(&self.prefix) == Some("usermeta")
            && key.1 == "source_domain"
            && let Some(place) = network.moved(value.1, &network.from.path).filter(|p| p.domain != value.1)
        {
            out.push((value.0, place.domain.into_bytes()));
        }
        if let (Some(uploads), Some(name), Some(value), true) = (&self.uploads, cell("option_name"), cell("option_value"), self.has_options(table))
            && name.1 == "upload_path"
            && value.1.trim_end_matches('/') == uploads.from
        {
            out.push((value.0, uploads.to.clone().into_bytes()));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wordpress::address::Address;
    use crate::wordpress::network::Place;

    fn rewriting() -> Rewriting {
        let place = |text: &str| Place::of(&Address::parse(text).unwrap());
        let network = Network { from: place("http://old.test"), to: place("https://new.test/shop") };
        let uploads = UploadPath { from: "/srv/media".to_owned(), to: String::new() };
        Rewriting { prefix: "wp_".to_owned(), addresses: None, network: Some(network), uploads: Some(uploads) }
    }

    #[test]
    fn only_the_cells_that_are_places_are_replaced_as_a_whole() {
        let cells = |table: &str, row: &[(&str, &str)]| {
            let columns: Vec<String> = row.iter().map(|(c, _)| (*c).to_owned()).collect();
            let values: Vec<_> = row.iter().map(|(_, v)| Some(v.as_bytes().to_vec())).collect();
            rewriting().whole_cells(table, &columns, &values).into_iter().map(|(at, v)| (at, String::from_utf8(v).unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(cells("wp_blogs", &[("domain", "old.test"), ("path", "/two/")]), [(0, "new.test".to_owned()), (1, "/shop/two/".to_owned())]);
        assert_eq!(cells("wp_blogs", &[("domain", "own.test"), ("path", "/")]), []);
        assert_eq!(cells("wp_shop", &[("domain", "old.test"), ("path", "/")]), []);
        assert_eq!(cells("wp_2_options", &[("option_name", "upload_path"), ("option_value", "/srv/media/")]), [(1, String::new())]);
        assert_eq!(cells("wp_usermeta", &[("meta_key", "source_domain"), ("meta_value", "old.test")]), [(1, "new.test".to_owned())]);
        assert_eq!(cells("wp_usermeta", &[("meta_key", "nickname"), ("meta_value", "old.test")]), []);
        assert_eq!(cells("wp_options", &[("option_name", "other"), ("option_value", "/srv/media")]), []);
        assert_eq!(cells("wp_myoptions", &[("option_name", "upload_path"), ("option_value", "/srv/media")]), []);
    }
}
