//! Which addresses are old: the one that was given, and what the site says about itself.

use super::super::job::{Job, recall, value};
use crate::adapters::{StepResult, failed, step_error};
use crate::wordpress::address::{Address, Rewriter};
use engine::StepContext;
use futures::TryStreamExt;
use movers::databases::DatabasePlan;
use ports::ErrorKind;

/// Note: the pairs of addresses, as they were found before the first change.
const PAIRS: &str = "addresses.pairs";

/// The old addresses and the new one; `None` when the address stays. Found once, before the first change, then remembered.
pub async fn rewriter(job: &Job, cx: &StepContext, plan: Option<&DatabasePlan>) -> StepResult<Option<Rewriter>> {
    let Some(to) = job.spec.destination.url.as_deref().and_then(Address::parse) else { return Ok(None) };
    let from = match recall::<Vec<String>>(cx, PAIRS).await? {
        Some(from) => from,
        None => {
            let from = old_addresses(job, plan).await?;
            cx.remember(PAIRS, Some(value(&from))).await?;
            from
        }
    };
    let pairs = from.iter().filter_map(|text| Address::parse(text)).map(|from| (from, to.clone())).collect();
    Ok(Rewriter::new(pairs))
}

/// `source.url`, and what the site itself says: the options `home` and `siteurl`.
async fn old_addresses(job: &Job, plan: Option<&DatabasePlan>) -> StepResult<Vec<String>> {
    let mut found: Vec<String> = job.spec.source.url.iter().cloned().collect();
    let site = job.site().await?;
    if let (Some(wordpress), Some(database), Some(plan)) = (&site.wordpress, &site.destination.database, plan)
        && let Some(editor) = database.cells()
    {
        let name = format!("{}options", wordpress.prefix);
        let table = plan.schema.tables.iter().find(|t| t.name.name == name).ok_or_else(|| {
            failed(
                ErrorKind::NotFound,
                format!("The source's database has no table '{name}'"),
                "Check $table_prefix in wp-config.php, and that source.database is the site's",
            )
        })?;
        let columns = ["option_name".to_owned(), "option_value".to_owned()];
        let mut rows = editor.containing(table, &columns[..1], &["home".to_owned(), "siteurl".to_owned()]);
        while let Some(row) = rows.try_next().await.map_err(step_error)? {
            let full = editor.fetch(table, &columns, std::slice::from_ref(&row.key)).await.map_err(step_error)?;
            for cells in full {
                if let [Some(name), Some(address)] = cells.values.as_slice()
                    && matches!(name.as_slice(), b"home" | b"siteurl")
                {
                    found.push(String::from_utf8_lossy(address).into_owned());
                }
            }
        }
    }
    let mut addresses: Vec<Address> = found.iter().filter_map(|text| Address::parse(text)).collect();
    addresses.sort_by_key(|a| a.path.len());
    let mut kept: Vec<Address> = Vec::new();
    for address in addresses {
        // `https://host/wp` is rewritten by `https://host` already, and keeps its `/wp`.
        let covered = kept.iter().any(|k| k.host == address.host && k.port == address.port && address.path.starts_with(&k.path));
        if !covered {
            kept.push(address);
        }
    }
    Ok(kept.iter().map(ToString::to_string).collect())
}
