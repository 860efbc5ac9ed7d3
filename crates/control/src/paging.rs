//! Pages of lists: `limit` and `offset` as documented, and `cursor`, which goes on behind the last item of a page however the list has grown
//! or shrunk meanwhile.

use crate::Filter;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ports::records::RecordFilter;

/// Items of a page unless the caller says otherwise.
pub const USUAL: u32 = 100;
/// The most that a caller can ask for.
pub const MOST: u32 = 1000;

/// Which part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub limit: u32,
    pub offset: u32,
    /// The place behind which the page begins, as [`cursor`] was given it.
    pub after: Option<String>,
}

impl Page {
    /// Records of such a page, newest first.
    pub fn filter(self) -> RecordFilter {
        RecordFilter { newest_first: true, limit: self.limit, offset: self.offset, after: self.after, ..RecordFilter::default() }
    }

    /// Such a page of a whole list that ascends by `place`.
    pub fn cut<T>(self, all: impl IntoIterator<Item = T>, place: impl Fn(&T) -> &str) -> Vec<T> {
        let behind = |item: &T| self.after.as_deref().is_none_or(|after| place(item) > after);
        all.into_iter().filter(behind).skip(self.offset as usize).take(self.limit as usize).collect()
    }
}

/// The opaque text for a place in a list.
pub fn cursor(place: &str) -> String {
    URL_SAFE_NO_PAD.encode(place)
}

impl Filter {
    /// The parameters `limit` (1 to 1000, default 100), `offset` and `cursor`.
    pub fn page(&mut self) -> Page {
        let limit = self.number("limit", 1..=u64::from(MOST), u64::from(USUAL)) as u32;
        let offset = self.number("offset", 0..=u64::from(u32::MAX), 0) as u32;
        let after = self.text("cursor").and_then(|text| {
            let place = URL_SAFE_NO_PAD.decode(&text).ok().and_then(|bytes| String::from_utf8(bytes).ok()).filter(|p| !p.contains('\0'));
            if place.is_none() {
                self.refuse("cursor", "is not one that a list's Link header gave");
            }
            place
        });
        Page { limit, offset, after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_back_and_others_refused() {
        let mut filter = Filter::new(vec![("cursor".to_owned(), cursor("a/ü")), ("limit".to_owned(), "7".to_owned())]);
        assert_eq!(filter.page(), Page { limit: 7, offset: 0, after: Some("a/ü".to_owned()) });
        filter.done().unwrap();
        for bad in ["%", "a b", "AA==", "gA", "AA"] {
            let mut filter = Filter::new(vec![("cursor".to_owned(), bad.to_owned())]);
            filter.page();
            assert!(filter.done().is_err(), "{bad}");
        }
    }
}
