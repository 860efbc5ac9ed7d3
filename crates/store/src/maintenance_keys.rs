//! A new key for the secrets at rest: everything is sealed anew in small transactions, and only then the old keys may go.
//!
//! Can be interrupted and called again: what has the newest key is left alone. Values that change meanwhile are left to whoever
//! changes them, who seals with the newest key too.

use crate::keys::{self, Keyring};
use crate::reach::Reach;
use crate::sql::{Conn, Param, Row, params};
use crate::{Store, records};
use engine::EngineError;

/// Values of one transaction.
const AT_ONCE: u32 = 200;

/// What became of the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Whether a new key was made; not when an earlier rotation was to be finished first.
    pub added: bool,
    pub resealed: u64,
    /// Keys that were forgotten.
    pub dropped: usize,
}

/// A place where sealed values are. The first columns are what makes a row unique and are texts; then tenant and value.
struct Place {
    table: &'static str,
    keys: &'static [&'static str],
    tenant: &'static str,
    column: &'static str,
    /// What the value is bound to beside its tenant, from the columns of the key.
    bound: fn(&[String]) -> String,
}

const PLACES: [Place; 3] = [
    Place { table: "run", keys: &["id"], tenant: "tenant", column: "input", bound: |k| k[0].clone() },
    Place {
        table: "memo",
        keys: &["run", "scope", "key"],
        tenant: "(SELECT tenant FROM run WHERE run.id = memo.run)",
        column: "value",
        bound: |k| k[0].clone(),
    },
    Place { table: "record", keys: &["tenant", "kind", "id"], tenant: "tenant", column: "secret", bound: |k| records::place(&k[1], &k[2]) },
];

/// A sealed value with where it is.
struct Sealed {
    key: Vec<String>,
    tenant: String,
    value: Vec<u8>,
}

impl Place {
    /// Values behind `after` in the order of their keys.
    async fn page(&self, conn: &mut Conn, after: &[String], but: Option<&str>) -> Result<Vec<Sealed>, EngineError> {
        let (column, keys) = (self.column, self.keys.join(", "));
        let mut values: Vec<Param> = Vec::new();
        let mut wheres = format!("{column} IS NOT NULL");
        if !after.is_empty() {
            values.extend(after.iter().map(Param::from));
            wheres.push_str(&format!(" AND ({keys}) > ({})", crate::sql::marks(1, after.len())));
        }
        if let Some(id) = but {
            values.push(id.as_bytes().to_vec().into());
            wheres.push_str(&format!(" AND substr({column}, {}, {}) <> ${}", keys::ID_AT, keys::ID, values.len()));
        }
        let sql = format!("SELECT {keys}, {}, {column} FROM {} WHERE {wheres} ORDER BY {keys} LIMIT {AT_ONCE}", self.tenant, self.table);
        let of = |row: &Row| {
            let n = self.keys.len();
            Ok(Sealed { key: (0..n).map(|i| row.text(i)).collect::<Result<_, EngineError>>()?, tenant: row.text(n)?, value: row.blob(n + 1)? })
        };
        conn.rows(&sql, values).await?.iter().map(of).collect()
    }

    /// Seals a value anew, unless somebody has changed it.
    async fn reseal(&self, conn: &mut Conn, keyring: &Keyring, sealed: &Sealed) -> Result<u64, EngineError> {
        let bound = (self.bound)(&sealed.key);
        let open = zeroize::Zeroizing::new(keyring.unseal(&sealed.tenant, &bound, &sealed.value)?);
        let mut values: Vec<Param> = sealed.key.iter().map(Param::from).collect();
        let n = values.len();
        values.push(keyring.seal(&sealed.tenant, &bound, &open)?.into());
        values.push(sealed.value.clone().into());
        let same: Vec<String> = self.keys.iter().enumerate().map(|(i, k)| format!("{k} = ${}", i + 1)).collect();
        let sql = format!("UPDATE {} SET {} = ${} WHERE {} AND {} = ${}", self.table, self.column, n + 1, same.join(" AND "), self.column, n + 2);
        conn.run(&sql, values).await
    }
}

/// Sealed values, and those of them that cannot be opened with the keys at hand.
pub(crate) async fn count(conn: &mut Conn, keyring: &Keyring, but: Option<&str>) -> Result<(u64, u64), EngineError> {
    let (mut all, mut closed) = (0, 0);
    for place in &PLACES {
        let mut after = Vec::new();
        loop {
            let page = place.page(conn, &after, but).await?;
            all += page.len() as u64;
            closed += page.iter().filter(|s| keyring.unseal(&s.tenant, &(place.bound)(&s.key), &s.value).is_err()).count() as u64;
            match page.last() {
                Some(last) if page.len() == AT_ONCE as usize => after.clone_from(&last.key),
                _ => break,
            }
        }
    }
    Ok((all, closed))
}

impl Store {
    /// Makes a new key and seals everything with it; after an interrupted rotation it goes on with that one's key. With `drop_old` no key
    /// is made: everything is sealed with the newest, all of it is opened for a trial, and then the other keys are forgotten.
    pub async fn rotate_key(&self, drop_old: bool) -> Result<Rotated, EngineError> {
        let behind = self.sealed(Some(self.keys.newest())).await?.0;
        let added = behind == 0 && !drop_old;
        if added {
            self.keys.add()?;
        }
        let mut resealed = 0;
        for place in &PLACES {
            resealed += self.reseal(place).await?;
        }
        let dropped = if drop_old { self.drop_old().await? } else { 0 };
        Ok(Rotated { added, resealed, dropped })
    }

    async fn sealed(&self, but: Option<String>) -> Result<(u64, u64), EngineError> {
        let keys = self.keys.clone();
        self.read_much(Reach::All, move |conn| Box::pin(async move { count(conn, &keys, but.as_deref()).await })).await
    }

    async fn reseal(&self, place: &'static Place) -> Result<u64, EngineError> {
        let (mut all, mut after) = (0, Vec::new());
        loop {
            let (keys, from) = (self.keys.clone(), after.clone());
            let (done, last) = self
                .writers
                .write("rotate", Reach::All, move |conn| {
                    Box::pin(async move {
                        let page = place.page(conn, &from, Some(&keys.newest())).await?;
                        let mut done = 0;
                        for sealed in &page {
                            done += place.reseal(conn, &keys, sealed).await?;
                        }
                        Ok((done, page.last().filter(|_| page.len() == AT_ONCE as usize).map(|s| s.key.clone())))
                    })
                })
                .await?;
            all += done;
            match last {
                Some(key) => after = key,
                None => return Ok(all),
            }
        }
    }

    async fn drop_old(&self) -> Result<usize, EngineError> {
        let (left, _) = self.sealed(Some(self.keys.newest())).await?;
        let (all, closed) = self.sealed(None).await?;
        if left > 0 || closed > 0 {
            return Err(EngineError::Invalid(format!(
                "of {all} secrets {left} are sealed with an old key and {closed} cannot be opened: no key was dropped. Run db rotate-key again, or db check to see more"
            )));
        }
        let old = self.keys.count() - 1;
        self.keys.keep_newest()?;
        let mut conn = self.write.take().await?;
        if !conn.is_postgres() {
            // What was sealed with the old keys may still stand in free pages.
            conn.run("VACUUM", params![]).await?;
        }
        Ok(old)
    }
}
