//! Which migration of a batch comes before which: names and indexes resolved, circles and impossible orders found.

use domain::decode::{Problems, type_name};
use serde_json::Value;

/// Index of the entry that a name or an index means. The error is for a person.
pub(super) fn resolve(reference: &Value, names: &[String]) -> Result<usize, String> {
    match reference {
        Value::Number(n) => {
            let index = n.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|i| *i < names.len());
            index.ok_or_else(|| format!("there is no entry {n}: indexes go from 0 to {}", names.len().saturating_sub(1)))
        }
        Value::String(name) => {
            let mut found = names.iter().enumerate().filter(|(_, n)| *n == name).map(|(i, _)| i);
            match (found.next(), found.next()) {
                (Some(index), None) => Ok(index),
                (None, _) => Err(format!("there is no entry with the name '{}'", name.escape_default())),
                (Some(_), Some(_)) => Err(format!("several entries have the name '{}'; use the index", name.escape_default())),
            }
        }
        other => Err(format!("must be the name or the index of an entry, not {}", type_name(other))),
    }
}

/// Notes dependencies that lead back to where they began, and those on a later wave.
pub(super) fn check(waves: &[u64], depends_on: &[Vec<usize>], names: &[String], p: &mut Problems) {
    for (index, on) in depends_on.iter().enumerate() {
        let field = format!("migrations[{index}].depends_on");
        if let Some(later) = on.iter().find(|o| waves[**o] > waves[index]) {
            p.note(&field, format!("'{}' is in a later wave ({}) than this one ({})", names[*later], waves[*later], waves[index]));
        }
        if let Some(circle) = circle(index, depends_on) {
            let shown: Vec<&str> = circle.iter().map(|i| names[*i].as_str()).collect();
            p.note(field, format!("goes round in a circle: {}", shown.join(" → ")));
            return;
        }
    }
}

/// The way from `start` back to itself, if there is one.
fn circle(start: usize, depends_on: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut came_from: Vec<Option<usize>> = vec![None; depends_on.len()];
    let mut open = vec![start];
    while let Some(at) = open.pop() {
        for next in &depends_on[at] {
            if *next == start {
                let mut way = vec![start];
                let mut back = at;
                while back != start {
                    way.push(back);
                    back = came_from[back]?;
                }
                way.push(start);
                way.reverse();
                return Some(way);
            }
            if came_from[*next].is_none() {
                came_from[*next] = Some(at);
                open.push(*next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names() -> Vec<String> {
        ["a", "b", "c", "c"].map(str::to_owned).to_vec()
    }

    #[test]
    fn names_and_indexes_are_resolved() {
        let found = |v: Value| resolve(&v, &names());
        assert_eq!((found(json!("b")), found(json!(3))), (Ok(1), Ok(3)));
        for bad in [json!("z"), json!("c"), json!(4), json!(-1), json!(1.5), json!(null), json!(["a"])] {
            assert!(found(bad.clone()).is_err(), "{bad}");
        }
    }

    fn problems(waves: [u64; 4], depends_on: [&[usize]; 4]) -> Vec<String> {
        let mut p = Problems::default();
        check(&waves, &depends_on.map(<[usize]>::to_vec), &names(), &mut p);
        p.0.into_iter().map(|p| format!("{}: {}", p.field, p.message)).collect()
    }

    #[test]
    fn circles_and_later_waves_are_named() {
        assert_eq!(problems([1, 1, 1, 1], [&[1], &[2], &[3], &[]]), Vec::<String>::new());
        assert_eq!(problems([1, 1, 1, 1], [&[], &[2], &[3], &[1]]), ["migrations[1].depends_on: goes round in a circle: b → c → c → b"]);
        assert_eq!(problems([1, 1, 1, 1], [&[0], &[], &[], &[]]), ["migrations[0].depends_on: goes round in a circle: a → a"]);
        assert_eq!(problems([1, 2, 2, 2], [&[1], &[], &[], &[]]), ["migrations[0].depends_on: 'b' is in a later wave (2) than this one (1)"]);
        assert_eq!(problems([1, 1, 2, 3], [&[], &[0], &[1, 0], &[2, 0]]), Vec::<String>::new());
    }
}
