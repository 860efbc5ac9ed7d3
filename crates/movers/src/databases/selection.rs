//! Which tables move, and what follows from that for views, keys, triggers and programs.
//!
//! ```text
//! tables, views ── asked for, or the site's own? ──► kept ──► their indexes, keys, triggers
//!                                               └─► left: named; views, keys and triggers that need one of them: named too
//! routines, events, types, sequences ── kept where something that is kept needs them, or they work on kept tables alone
//! ```
//! While nothing is left out, nothing is looked at: the whole database moves.

use domain::spec::{TableSelection, table_matches};
use ports::databases::{ObjectKind, ObjectName, Schema, SchemaObject, Unmovable};
use ports::{ConnectorError, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What of a database is to move.
#[derive(Debug, Clone, Default)]
pub struct TableFilter {
    pub asked: TableSelection,
    /// Of a site that shares its database with others.
    pub site: Option<SiteTables>,
}

/// The tables of one WordPress.
#[derive(Debug, Clone, Default)]
pub struct SiteTables {
    pub prefix: String,
    /// Its sites have tables of their own, called `prefix` + number + `_` + name.
    pub network: bool,
    /// Tables that its configuration names.
    pub also: Vec<String>,
}

/// A schema without what is left.
#[derive(Debug)]
pub(super) struct Selected {
    pub schema: Schema,
    /// What stays behind because nobody asked for it.
    pub left_out: Vec<Unmovable>,
}

/// # Errors
/// `Invalid` when a pattern of `include` means no table: a typing slip would leave something behind.
pub(super) fn select(schema: Schema, filter: &TableFilter) -> Result<Selected> {
    let names: Vec<ObjectName> = schema.objects.iter().filter(|o| is_relation(o.kind)).map(|o| o.name.clone()).collect();
    refuse_slips(filter, &names)?;
    let others = other_sites(filter, &names);
    let left: BTreeMap<ObjectName, String> = names.into_iter().filter_map(|name| Some((name.clone(), why_left(filter, &others, &name)?))).collect();
    if left.is_empty() {
        return Ok(Selected { schema, left_out: Vec::new() });
    }
    Ok(Selection::new(left).apply(schema, |name| why_left(filter, &others, name).is_some()))
}

fn is_relation(kind: ObjectKind) -> bool {
    matches!(kind, ObjectKind::Table | ObjectKind::View)
}

fn refuse_slips(filter: &TableFilter, names: &[ObjectName]) -> Result<()> {
    let unknown = |pattern: &&String| !names.iter().any(|n| table_matches(pattern, &n.schema, &n.name));
    match filter.asked.include.iter().find(unknown) {
        None => Ok(()),
        Some(pattern) => {
            Err(ConnectorError::new(ErrorKind::Invalid, "choose the tables of", "the source database", format!("no table or view is called '{pattern}'"))
                .advice("Check database.tables.include; names are compared letter by letter"))
        }
    }
}

/// The prefixes of other WordPress installations whose names begin with the site's own.
fn other_sites(filter: &TableFilter, names: &[ObjectName]) -> Vec<String> {
    let Some(site) = &filter.site else { return Vec::new() };
    let known: HashSet<&str> = names.iter().map(|n| n.name.as_str()).collect();
    let prefixes = names.iter().filter_map(|n| n.name.strip_suffix("options"));
    let own = |prefix: &str| prefix == site.prefix || (site.network && is_number(prefix.strip_prefix(&site.prefix).and_then(|r| r.strip_suffix('_'))));
    // Sites of one network share the table of users; a site that has one is on its own.
    let whole = |prefix: &str| ["posts", "users"].iter().all(|table| known.contains(format!("{prefix}{table}").as_str()));
    prefixes.filter(|p| p.starts_with(&site.prefix) && !own(p) && whole(p)).map(str::to_owned).collect()
}

fn is_number(text: Option<&str>) -> bool {
    text.is_some_and(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit()))
}

/// `None`: it moves.
fn why_left(filter: &TableFilter, others: &[String], name: &ObjectName) -> Option<String> {
    if filter.asked.excludes(&name.schema, &name.name) {
        return Some("database.tables.exclude leaves it out".to_owned());
    }
    if filter.asked.includes(&name.schema, &name.name) {
        return None;
    }
    let Some(site) = &filter.site else {
        return (!filter.asked.include.is_empty()).then(|| "database.tables.include does not name it".to_owned());
    };
    let other = others.iter().find(|prefix| name.name.starts_with(prefix.as_str()));
    let reason = match other {
        _ if site.also.contains(&name.name) => return None,
        Some(prefix) => format!("it belongs to another WordPress, with the table prefix '{prefix}'"),
        None if name.name.starts_with(&site.prefix) => return None,
        None => format!("its name does not begin with the site's table prefix '{}'", site.prefix),
    };
    Some(format!("{reason}; database.tables.include brings it along"))
}

/// The words of an object's statements, in small letters.
fn words(object: &SchemaObject) -> HashSet<String> {
    let split = |text: &String| text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).map(str::to_lowercase).collect::<Vec<_>>();
    object.statements.iter().flat_map(split).collect()
}

/// Whether a statement names it. A name that is more than one word is looked for as it is.
fn names(words: &HashSet<String>, object: &SchemaObject, name: &str) -> bool {
    if name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '$') {
        return words.contains(&name.to_lowercase());
    }
    object.statements.iter().any(|statement| statement.contains(name))
}

struct Selection {
    /// Tables and views that stay behind, and why.
    left: BTreeMap<ObjectName, String>,
    left_out: Vec<Unmovable>,
    /// What belongs to something that moves, and cannot.
    cut_off: Vec<Unmovable>,
}

impl Selection {
    fn new(left: BTreeMap<ObjectName, String>) -> Self {
        Self { left, left_out: Vec::new(), cut_off: Vec::new() }
    }

    fn apply(mut self, mut schema: Schema, is_left: impl Fn(&ObjectName) -> bool) -> Selected {
        self.leave_views(&schema);
        let decided: Vec<Option<bool>> = schema.objects.iter().map(|o| self.decide(o)).collect();
        let kept = needed(&schema.objects, decided, &self.left);
        for (object, _) in schema.objects.iter().zip(&kept).filter(|(o, kept)| !**kept && o.table.is_none()) {
            let reason = self.left.get(&object.name).filter(|_| is_relation(object.kind)).cloned();
            if let Some(reason) = reason.or_else(|| is_program(object.kind).then(|| "it works for tables that stay behind, or for none".to_owned())) {
                self.left_out.push(named(object, reason));
            }
        }
        let mut keep = kept.iter();
        schema.objects.retain(|_| keep.next().copied().unwrap_or(true));
        schema.tables.retain(|t| !self.left.contains_key(&t.name));
        let (stay, own): (Vec<_>, Vec<_>) = std::mem::take(&mut schema.unmovable).into_iter().partition(|u| is_left(&of_text(&u.name)));
        self.left_out.extend(stay.into_iter().filter(|u| u.kind == "table" || u.kind == "view"));
        schema.unmovable = own;
        schema.unmovable.append(&mut self.cut_off);
        Selected { schema, left_out: self.left_out }
    }

    /// A view stays behind with what it reads, and so does what reads the view.
    fn leave_views(&mut self, schema: &Schema) {
        loop {
            let stays = schema.objects.iter().filter(|o| o.kind == ObjectKind::View && !self.left.contains_key(&o.name)).find_map(|view| {
                let needs = self.first_left(view)?;
                Some((view, needs))
            });
            let Some((view, needs)) = stays else { return };
            let reason = format!("it reads '{needs}', which stays behind");
            self.cut_off.push(named(view, reason.clone()));
            self.left.insert(view.name.clone(), reason);
        }
    }

    /// Something that stays behind and that this object names.
    fn first_left(&self, object: &SchemaObject) -> Option<ObjectName> {
        let words = words(object);
        self.left.keys().find(|left| **left != object.name && names(&words, object, &left.name)).cloned()
    }

    /// `None`: it depends on who needs it.
    fn decide(&mut self, object: &SchemaObject) -> Option<bool> {
        if let Some(table) = &object.table {
            return Some(!self.left.contains_key(table) && !self.cut(object));
        }
        match object.kind {
            ObjectKind::Table | ObjectKind::View => Some(!self.left.contains_key(&object.name)),
            ObjectKind::Extension => Some(true),
            ObjectKind::Routine | ObjectKind::Event | ObjectKind::Property if self.first_left(object).is_some() => Some(false),
            ObjectKind::Property => Some(!self.left.contains_key(&object.name)),
            _ => None,
        }
    }

    /// A key or a trigger of a table that moves, on one that does not.
    fn cut(&mut self, object: &SchemaObject) -> bool {
        let other = match object.kind {
            ObjectKind::ForeignKey => self.referenced(object),
            ObjectKind::Trigger => self.first_left(object),
            _ => None,
        };
        if let Some(other) = &other {
            self.cut_off.push(named(object, format!("it needs '{other}', which stays behind")));
        }
        other.is_some()
    }

    /// The table that a foreign key refers to, when it stays behind.
    fn referenced(&self, key: &SchemaObject) -> Option<ObjectName> {
        let refers = |statement: &String| {
            let at = statement.to_uppercase().find("REFERENCES")?;
            let target: String = statement.get(at + "REFERENCES".len()..)?.trim_start().split('(').next()?.to_owned();
            let leaf = target.trim().rsplit('.').next()?.trim_matches(['`', '"', '[', ']', ' ']).to_owned();
            self.left.keys().find(|left| left.name.eq_ignore_ascii_case(&leaf)).cloned()
        };
        key.statements.iter().find_map(refers)
    }
}

fn is_program(kind: ObjectKind) -> bool {
    matches!(kind, ObjectKind::Routine | ObjectKind::Event | ObjectKind::Sequence)
}

fn named(object: &SchemaObject, reason: String) -> Unmovable {
    let kind = match object.kind {
        ObjectKind::ForeignKey => "foreign key".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    Unmovable { kind, name: object.name.to_string(), reason }
}

/// A name as [`Unmovable`] has it.
fn of_text(text: &str) -> ObjectName {
    let (schema, name) = text.split_once('.').unwrap_or(("", text));
    ObjectName { schema: schema.to_owned(), name: name.to_owned() }
}

/// Settles the open ones: kept when something that is kept names them; programs also when they work on a table that is kept.
fn needed(objects: &[SchemaObject], decided: Vec<Option<bool>>, left: &BTreeMap<ObjectName, String>) -> Vec<bool> {
    let tables: BTreeSet<String> = objects.iter().filter(|o| is_relation(o.kind) && !left.contains_key(&o.name)).map(|o| o.name.name.to_lowercase()).collect();
    let mut kept: Vec<bool> = decided.iter().map(|d| d.unwrap_or(false)).collect();
    let mut open: Vec<usize> = (0..objects.len()).filter(|i| decided[*i].is_none()).collect();
    let mut said: HashSet<String> = objects.iter().zip(&kept).filter(|(_, kept)| **kept).flat_map(|(o, _)| words(o)).collect();
    let mut schemas: HashSet<&str> = objects.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(o, _)| o.name.schema.as_str()).collect();
    loop {
        let wanted = |o: &SchemaObject| match o.kind {
            ObjectKind::Schema => schemas.contains(o.name.name.as_str()) || schemas.contains(o.name.schema.as_str()) && !o.name.schema.is_empty(),
            ObjectKind::Routine | ObjectKind::Event => said.contains(&bare(&o.name)) || words(o).iter().any(|w| tables.contains(w)),
            _ => said.contains(&bare(&o.name)),
        };
        let (now, rest): (Vec<usize>, Vec<usize>) = open.iter().copied().partition(|i| wanted(&objects[*i]));
        if now.is_empty() {
            return kept;
        }
        for i in now {
            kept[i] = true;
            said.extend(words(&objects[i]));
            schemas.insert(objects[i].name.schema.as_str());
        }
        open = rest;
    }
}

/// The name that statements call it by; a routine's may come with its arguments.
fn bare(name: &ObjectName) -> String {
    name.name.split('(').next().unwrap_or_default().trim().to_lowercase()
}

#[cfg(test)]
#[path = "selection_tests.rs"]
mod tests;
