//! The disk that a machine begins with: a file of the node, or a file to fetch whose hash is known.

use crate::decode::{Fields, Problems};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Never written to: the machine's own disk lies over it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    #[serde(flatten)]
    pub place: ImagePlace,
    pub format: ImageFormat,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ImagePlace {
    /// Fetched once and kept; `sha256` in lower case.
    Url { url: String, sha256: String },
    /// Absolute, on the node.
    Path { path: String },
    /// The disk came whole with this migration: there is no image to make it from again.
    Moved { migration: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageFormat {
    Qcow2,
    Raw,
}

impl ImageFormat {
    pub fn word(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        }
    }

    /// What the end of a name suggests.
    pub fn of(name: &str) -> Self {
        let end = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        if end == "qcow2" || end == "qcow" { Self::Qcow2 } else { Self::Raw }
    }
}

/// `"image"`: a path as a text, `{"path": …}`, or `{"url": …, "sha256": …}`; both may say their `format`.
pub(super) fn read(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Image> {
    match fields.value("image")? {
        Value::String(path) => at_path(path.clone(), None, "image", problems),
        Value::Object(_) => from_object(fields.object("image", problems)?, problems),
        other => {
            problems.note("image", format!("must be a path or an object, not {}", crate::decode::type_name(other)));
            None
        }
    }
}

fn from_object(mut image: Fields<'_>, problems: &mut Problems) -> Option<Image> {
    let format = image.choice("format", &[("qcow2", ImageFormat::Qcow2), ("raw", ImageFormat::Raw)], problems);
    let (path, url, sha256) = (image.text("path", problems), image.text("url", problems), image.text("sha256", problems));
    image.done(problems);
    match (path, url) {
        (Some(path), None) => {
            if sha256.is_some() {
                problems.note("image.sha256", "belongs to a url; a file of the node is used as it is");
            }
            at_path(path, format, "image.path", problems)
        }
        (None, Some(url)) => at_url(url, sha256, format, problems),
        (Some(_), Some(_)) => {
            problems.note("image.url", "cannot stand beside path: give one of them");
            None
        }
        (None, None) => {
            problems.note("image", "must have a path, or a url and its sha256");
            None
        }
    }
}

fn at_path(path: String, format: Option<ImageFormat>, field: &str, problems: &mut Problems) -> Option<Image> {
    if !super::spec::is_path(&path) {
        problems.note(field, "must be an absolute path without '..'");
        return None;
    }
    let format = format.unwrap_or_else(|| ImageFormat::of(&path));
    Some(Image { place: ImagePlace::Path { path }, format })
}

fn at_url(url: String, sha256: Option<String>, format: Option<ImageFormat>, problems: &mut Problems) -> Option<Image> {
    if !url.starts_with("https://") && !url.starts_with("http://") {
        problems.note("image.url", "must start with https:// or http://");
    }
    let Some(sha256) = sha256 else {
        problems.note("image.sha256", "is required beside a url: what is fetched is used only if it has this hash");
        return None;
    };
    if sha256.len() != 64 || !sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
        problems.note("image.sha256", "must be 64 hexadecimal digits");
    }
    let name = url.split(['?', '#']).next().unwrap_or_default();
    let format = format.unwrap_or_else(|| ImageFormat::of(name));
    Some(Image { place: ImagePlace::Url { sha256: sha256.to_ascii_lowercase(), url }, format })
}
