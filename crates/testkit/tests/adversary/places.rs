//! Systems as people see them: they write there without asking a migration, and look at what is there.

use super::dice::Dice;
use std::collections::BTreeMap;
use std::sync::Arc;
use testkit::memory_database::{MemoryDatabase, Rows};
use testkit::memory_files::{Loss, MemoryFiles};

/// Contents by path: regular files alone.
pub type Files = BTreeMap<String, String>;

/// Rows by table.
pub type Tables = BTreeMap<String, Rows>;

#[async_trait::async_trait]
pub trait FilePlace: Send + Sync {
    async fn read(&self, path: &str) -> Option<String>;

    async fn write(&self, path: &str, text: &str);

    async fn remove(&self, path: &str);

    async fn files(&self) -> Files;

    /// Everything that can be seen, one line each.
    async fn state(&self) -> Vec<String>;

    /// The machine loses power. Real ones keep theirs.
    fn lose_power(&self, _seed: u64) {}
}

#[async_trait::async_trait]
pub trait RowPlace: Send + Sync {
    /// Writes one row; false when there is no such table.
    async fn write(&self, table: &str, key: i64, text: &str) -> bool;

    async fn remove(&self, table: &str, key: i64);

    async fn tables(&self) -> Tables;

    /// Everything that can be seen, one line each.
    async fn state(&self) -> Vec<String>;
}

/// Both parts of one side.
#[derive(Clone)]
pub struct Place {
    pub files: Arc<dyn FilePlace>,
    pub rows: Arc<dyn RowPlace>,
}

#[async_trait::async_trait]
impl FilePlace for MemoryFiles {
    async fn read(&self, path: &str) -> Option<String> {
        Self::read(self, path).map(|data| String::from_utf8_lossy(&data).into_owned())
    }

    async fn write(&self, path: &str, text: &str) {
        Self::write(self, path, text.to_owned());
    }

    async fn remove(&self, path: &str) {
        self.delete(path);
    }

    async fn files(&self) -> Files {
        let paths = self.contents().into_keys().filter(|path| !path.ends_with('/'));
        paths.filter_map(|path| Some((path.clone(), String::from_utf8_lossy(&Self::read(self, &path)?).into_owned()))).collect()
    }

    async fn state(&self) -> Vec<String> {
        Self::state(self)
    }

    fn lose_power(&self, seed: u64) {
        let mut dice = Dice::new(seed);
        Self::lose_power(self, |_| dice.pick(&[Loss::Lost, Loss::Lost, Loss::Torn, Loss::Kept]));
    }
}

#[async_trait::async_trait]
impl RowPlace for MemoryDatabase {
    async fn write(&self, table: &str, key: i64, text: &str) -> bool {
        self.write_row(table, key, text)
    }

    async fn remove(&self, table: &str, key: i64) {
        self.delete_row(table, key);
    }

    async fn tables(&self) -> Tables {
        self.rows()
    }

    async fn state(&self) -> Vec<String> {
        Self::state(self)
    }
}
