//! What is old: the address that was given, what the site says about itself, and where the sites of a network are.

use super::super::job::{Job, recall, value};
use crate::adapters::{StepResult, failed, step_error};
use crate::site::WordPress;
use crate::wordpress::address::{Address, Rewriter};
use crate::wordpress::network::{Network, Place};
use crate::wordpress::rewriting::{Rewriting, UploadPath};
use engine::StepContext;
use futures::TryStreamExt;
use movers::databases::DatabasePlan;
use ports::ErrorKind;
use ports::databases::{CellEditor, Table};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Note: what was found before the first change.
const FOUND: &str = "addresses.found";

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Found {
    /// Old and new addresses.
    pairs: Vec<(String, String)>,
    network: Option<Network>,
    /// Sites of the network that keep a domain of their own.
    own_domains: Vec<String>,
}

/// What is to be rewritten; `None` when nothing is. Found once, before the first change, then remembered.
pub async fn rewriting(job: &Job, cx: &StepContext, plan: Option<&DatabasePlan>) -> StepResult<Option<Rewriting>> {
    let site = job.site().await?;
    let Some(wordpress) = &site.wordpress else { return Ok(None) };
    let to = job.spec.destination.url.as_deref().and_then(Address::parse);
    let found = match (to, recall::<Found>(cx, FOUND).await?) {
        (None, _) => Found::default(),
        (Some(_), Some(found)) => found,
        (Some(to), None) => {
            let found = find(job, wordpress, plan, &to).await?;
            cx.remember(FOUND, Some(value(&found))).await?;
            found
        }
    };
    let pairs = found.pairs.iter().filter_map(|(from, to)| Some((Address::parse(from)?, Address::parse(to)?))).collect();
    let prefix = wordpress.prefix.clone();
    let uploads = site.uploads.as_ref().and_then(|u| Some(UploadPath { from: u.option.clone()?, to: u.new_option() }));
    let rewriting = Rewriting { prefix, addresses: Rewriter::new(pairs), network: found.network, uploads };
    Ok((!rewriting.is_empty()).then_some(rewriting))
}

/// Sites of the network that keep a domain of their own, as they were found.
pub async fn own_domains(cx: &StepContext) -> StepResult<Vec<String>> {
    Ok(recall::<Found>(cx, FOUND).await?.map(|f| f.own_domains).unwrap_or_default())
}

async fn find(job: &Job, wordpress: &WordPress, plan: Option<&DatabasePlan>, to: &Address) -> StepResult<Found> {
    let mut old: Vec<String> = job.spec.source.url.iter().cloned().collect();
    let mut found = Found::default();
    let database = job.site().await?.destination.database.clone();
    if let (Some(plan), Some(editor)) = (plan, database.and_then(|d| d.cells())) {
        let tables = Tables { editor, plan, prefix: &wordpress.prefix };
        old.extend(tables.home_and_siteurl().await?);
        if wordpress.config.is_on("MULTISITE") {
            tables.network(wordpress, to, &mut found).await?;
        }
    }
    let mut pairs: Vec<(String, String)> = shortest(&old).into_iter().map(|from| (from.to_string(), to.to_string())).collect();
    pairs.append(&mut found.pairs);
    found.pairs = pairs;
    Ok(found)
}

/// Without those that another one covers: `https://host/wp` is rewritten by `https://host` already, and keeps its `/wp`.
fn shortest(old: &[String]) -> Vec<Address> {
    let mut addresses: Vec<Address> = old.iter().filter_map(|text| Address::parse(text)).collect();
    addresses.sort_by_key(|a| a.path.len());
    let mut kept: Vec<Address> = Vec::new();
    for address in addresses {
        if !kept.iter().any(|k| k.host == address.host && k.port == address.port && address.path.starts_with(&k.path)) {
            kept.push(address);
        }
    }
    kept
}

/// The site's tables at the destination, where the rows are as they were at the source.
struct Tables<'a> {
    editor: Arc<dyn CellEditor>,
    plan: &'a DatabasePlan,
    prefix: &'a str,
}

impl Tables<'_> {
    fn table(&self, name: &str) -> StepResult<&Table> {
        let name = format!("{}{name}", self.prefix);
        self.plan.schema.tables.iter().find(|t| t.name.name == name).ok_or_else(|| {
            let advice = "Check $table_prefix in wp-config.php, and that source.database is the site's";
            failed(ErrorKind::NotFound, format!("The source's database has no table '{name}'"), advice)
        })
    }

    /// Two text columns of the rows in which the first contains one of the needles.
    async fn rows(&self, table: &str, columns: [&str; 2], needles: &[&str]) -> StepResult<Vec<[String; 2]>> {
        let table = self.table(table)?;
        let columns = columns.map(str::to_owned);
        let needles: Vec<String> = needles.iter().map(|n| (*n).to_owned()).collect();
        let mut found = self.editor.containing(table, &columns[..1], &needles);
        let mut out = Vec::new();
        while let Some(row) = found.try_next().await.map_err(step_error)? {
            for cells in self.editor.fetch(table, &columns, std::slice::from_ref(&row.key)).await.map_err(step_error)? {
                if let [Some(first), Some(second)] = cells.values.as_slice() {
                    out.push([first, second].map(|bytes| String::from_utf8_lossy(bytes).into_owned()));
                }
            }
        }
        Ok(out)
    }

    /// What the site says about itself.
    async fn home_and_siteurl(&self) -> StepResult<Vec<String>> {
        let rows = self.rows("options", ["option_name", "option_value"], &["home", "siteurl"]).await?;
        Ok(rows.into_iter().filter(|[name, _]| matches!(name.as_str(), "home" | "siteurl")).map(|[_, address]| address).collect())
    }

    /// The network's own place, and the addresses of its sites.
    async fn network(&self, wordpress: &WordPress, to: &Address, found: &mut Found) -> StepResult<()> {
        let named = wordpress.config.text("DOMAIN_CURRENT_SITE").ok();
        let places = self.rows("site", ["path", "domain"], &["/"]).await?;
        let mut places = places.into_iter().map(|[path, domain]| Place { domain: domain.to_ascii_lowercase(), path });
        let Some(from) = places.find(|p| named.as_ref().is_none_or(|n| n.eq_ignore_ascii_case(&p.domain))) else { return Ok(()) };
        let network = Network { from, to: Place::of(to) };
        for [path, domain] in self.rows("blogs", ["path", "domain"], &["/"]).await? {
            let Some(moved) = network.moved(&domain, &path) else {
                found.own_domains.push(domain);
                continue;
            };
            let pair = (Place { domain: domain.to_ascii_lowercase(), path }.address("http"), moved.address(&to.scheme));
            if let (Some(from), Some(to)) = pair {
                found.pairs.push((from.to_string(), to.to_string()));
            }
        }
        found.network = (network.from != network.to).then_some(network);
        Ok(())
    }
}
