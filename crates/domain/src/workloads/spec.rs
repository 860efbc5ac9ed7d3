//! A migration of a workload: which mount points of which server go to which VM, how, and how safely.

use super::mount_point::overlap;
use super::target::check_in_image;
use super::workload::require;
use super::{Selected, Target, Workload};
use crate::decode::{Fields, Problems, type_name};
use crate::spec::{Notifications, Safety, Transfer};
use serde_json::Value;

/// Whether a body of `POST /migrations` is document 0's.
pub fn is_workload_migration(body: &Value) -> bool {
    ["selected_mount_points", "migration_target"].iter().any(|field| body.get(field).is_some())
}

/// How long the source goes on living.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One pass, and the last one right behind it.
    Once,
    /// Passes again and again, until somebody asks for the cutover.
    Warm,
}

/// One migration of a workload. Every default is filled in.
#[derive(Debug, Clone)]
pub struct WorkloadSpec {
    pub name: String,
    pub description: Option<String>,
    pub selected: Vec<Selected>,
    pub source: Workload,
    pub target: Target,
    pub mode: Mode,
    /// Seconds from the end of one warm pass to the beginning of the next.
    pub pass_every: u64,
    pub transfer: Transfer,
    pub safety: Safety,
    pub notifications: Notifications,
}

impl WorkloadSpec {
    /// Reads document 0's body of `POST /migrations`, with our additions. All bad, missing and unknown fields come back together.
    pub fn decode(body: &Value) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let spec = Self::read(body, &mut problems);
        match spec {
            Some(spec) if problems.is_empty() => Ok(spec),
            _ => Err(problems),
        }
    }

    fn read(body: &Value, p: &mut Problems) -> Option<Self> {
        let mut f = Fields::of("", body, p)?;
        let name = f.text("name", p);
        if name.as_ref().is_some_and(|n| n.trim().is_empty() || n.chars().count() > 200) {
            p.note("name", "must have 1 to 200 characters");
        }
        let description = f.text("description", p);
        let selected = read_selected(&mut f, p);
        let source = nested(&mut f, "source", p, Workload::read);
        let target = nested(&mut f, "migration_target", p, |f, p| Target::read(f, &selected, p));
        let mode = f.choice("mode", &[("once", Mode::Once), ("warm", Mode::Warm)], p).unwrap_or(Mode::Once);
        let pass_every = f.integer("pass_every", 1..=86_400, p).unwrap_or(60);
        let transfer = Transfer::read(f.object("transfer", p), p);
        let safety = Safety::read(f.object("safety", p), p);
        let notifications = Notifications::read(f.object("notifications", p), p);
        f.done(p);
        let (source, target) = (source?, target?);
        check(&selected, &source, &target, p);
        let name = name.unwrap_or_else(|| format!("{} to {}", source.ip, target.place()));
        Some(Self { name, description, selected, source, target, mode, pass_every, transfer, safety, notifications })
    }
}

/// What is read inside of a required object; nothing of it stays unread.
pub(super) fn nested<T>(
    f: &mut Fields<'_>,
    field: &'static str,
    p: &mut Problems,
    read: impl FnOnce(&mut Fields<'_>, &mut Problems) -> Option<T>,
) -> Option<T> {
    let Some(mut inner) = f.object(field, p) else {
        require(f, field, p);
        return None;
    };
    let out = read(&mut inner, p);
    inner.done(p);
    out
}

fn read_selected(f: &mut Fields<'_>, p: &mut Problems) -> Vec<Selected> {
    let field = "selected_mount_points";
    match f.value(field) {
        None => p.note(field, "is required: the mount points that move"),
        Some(Value::Array(values)) if values.is_empty() => p.note(field, "must name at least one mount point"),
        Some(Value::Array(values)) => return Selected::read_list(values, field, p),
        Some(other) => p.note(field, format!("must be an array, not {}", type_name(other))),
    }
    Vec::new()
}

/// Rules between the parts.
fn check(selected: &[Selected], source: &Workload, target: &Target, p: &mut Problems) {
    for (i, name) in selected.iter().map(Selected::name).enumerate() {
        if source.mount_point(name).is_none() && !name.is_empty() {
            p.note(format!("selected_mount_points[{i}].mount_point_name"), format!("the source {} has no mount point '{name}'", source.ip));
        }
    }
    let system = source.mount_points.iter().find(|m| m.is_system_drive());
    if let Some(system) = system
        && !selected.is_empty()
        && !selected.iter().any(|s| s.mount_point.is_system_drive())
    {
        p.note("selected_mount_points", format!("the source has {}, so it must be among them", system.mount_point_name));
    }
    let vm = match target {
        Target::Vm(target) => &target.vm,
        Target::Image(_) => return check_in_image(selected, source, p),
    };
    check_apart(selected, &vm.ssh.drive_root, p);
    if source.is_same_server(vm) {
        check_copy_in_place(selected, source, p);
    }
}

/// No two of them may land in, or inside, each other. Mount points that stay what they are lie at the target as they lie at the source: the
/// boundary of the file system keeps them apart there, too.
pub(super) fn check_apart(selected: &[Selected], drive_root: &str, p: &mut Problems) {
    for (i, one) in selected.iter().enumerate() {
        let clash = selected[..i].iter().find(|other| (one.moves_elsewhere() || other.moves_elsewhere()) && overlap(one.target(), other.target(), drive_root));
        if let Some(other) = clash {
            let why = format!("'{}' and '{}', where {} goes, lie in each other; each needs a directory of its own", one.target(), other.target(), other.name());
            p.note(format!("selected_mount_points[{i}].target_directory"), why);
        }
    }
}

/// A server may hold both sides only when nothing lands where something is read.
fn check_copy_in_place(selected: &[Selected], server: &Workload, p: &mut Problems) {
    if !selected.iter().any(Selected::moves_elsewhere) {
        p.note("migration_target.target_vm.ip", format!("{} is the source itself", server.ip));
        return;
    }
    for (i, one) in selected.iter().enumerate() {
        if let Some(read) = selected.iter().find(|read| overlap(one.target(), read.name(), &server.ssh.drive_root)) {
            let why = format!("'{}' and {}, which is read on the same server, lie in each other; choose a directory outside of it", one.target(), read.name());
            p.note(format!("selected_mount_points[{i}].target_directory"), why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body() -> Value {
        let credentials = json!({"username": "testuser", "password": "testpass", "domain": "testdomain.com"});
        json!({
            "selected_mount_points": [{"mount_point_name": "c:", "total_size": 1000}],
            "source": {"ip": "192.168.1.1", "credentials": credentials, "storage": {"mount_points": [{"mount_point_name": "C:\\", "total_size": 1000}, {"mount_point_name": "D:\\", "total_size": 5}]}},
            "migration_target": {
                "cloud_type": "aws", "cloud_credentials": credentials,
                "target_vm": {"ip": "192.168.1.2", "credentials": credentials, "storage": {"mount_points": []}},
            },
        })
    }

    fn problems(body: &Value) -> Vec<String> {
        WorkloadSpec::decode(body).map_or_else(|p| p.0.into_iter().map(|p| format!("{} {}", p.field, p.message)).collect(), |_| Vec::new())
    }

    #[test]
    fn the_documents_migration_is_read() {
        let spec = WorkloadSpec::decode(&body()).unwrap();
        assert_eq!((spec.name.as_str(), spec.mode, spec.selected[0].mount_point.key().as_str()), ("192.168.1.1 to 192.168.1.2", Mode::Once, "C:\\"));
        let files = spec.source.files("D:\\").unwrap();
        assert_eq!(files.describe(), "sftp://testuser@testdomain.com@192.168.1.1:22/D:/");
    }

    #[test]
    fn everything_that_is_wrong_is_named() {
        assert_eq!(
            problems(&json!({})),
            ["selected_mount_points is required: the mount points that move", "source is required", "migration_target is required"]
        );
        let mut bad = body();
        bad["selected_mount_points"] = json!([{"mount_point_name": "D:\\", "total_size": -1}, {"mount_point_name": "E:\\", "total_size": 1}, "x"]);
        bad["source"]["credentials"]["username"] = json!(" ");
        bad["migration_target"]["cloud_type"] = json!("gcp");
        bad["migration_target"]["target_vm"]["ip"] = json!("1.2.3");
        assert_eq!(problems(&bad).len(), 5, "{:?}", problems(&bad));
    }

    #[test]
    fn the_system_drive_must_be_among_the_selected() {
        for (selected, expected) in [("D:\\", "selected_mount_points the source has C:\\, so it must be among them"), ("F:\\", "selected_mount_points[0]")] {
            let mut some = body();
            some["selected_mount_points"] = json!([{"mount_point_name": selected, "total_size": 5}]);
            assert!(problems(&some)[0].starts_with(expected), "{:?}", problems(&some));
        }
    }

    #[test]
    fn a_server_is_not_its_own_target() {
        let mut same = body();
        same["migration_target"]["target_vm"]["ip"] = json!("192.168.1.1");
        assert_eq!(problems(&same), ["migration_target.target_vm.ip 192.168.1.1 is the source itself"]);
        same["migration_target"]["target_vm"]["ssh"] = json!({"port": 2222});
        assert!(problems(&same).is_empty(), "another server behind another port");
    }

    #[test]
    fn each_has_a_directory_of_its_own() {
        let landing = |directories: [Option<&str>; 2]| {
            let mut body = body();
            let all = json!([{"mount_point_name": "/data", "total_size": 1}, {"mount_point_name": "/", "total_size": 1}]);
            body["source"]["storage"]["mount_points"] = all.clone();
            body["selected_mount_points"] = all;
            for (i, directory) in directories.iter().enumerate() {
                body["selected_mount_points"][i]["target_directory"] = json!(directory);
            }
            body
        };
        for apart in [[None, None], [Some("/data/"), Some("/")], [Some("/srv/a"), Some("/srv/b")]] {
            assert!(problems(&landing(apart)).is_empty(), "{apart:?}: {:?}", problems(&landing(apart)));
        }
        for together in [[Some("/srv"), None], [Some("/srv/a"), Some("/srv/a/b")], [Some("/srv/a"), Some("/srv/a/")], [Some("D:\\x"), Some("d:/X/y")]] {
            let found = problems(&landing(together));
            assert!(found.len() == 1 && found[0].starts_with("selected_mount_points[1].target_directory "), "{together:?}: {found:?}");
        }
        assert_eq!(problems(&landing([Some("srv"), Some("/x/../y")])).len(), 2);
        let spec = WorkloadSpec::decode(&landing([Some("/srv/a"), Some("/srv/b")])).unwrap();
        assert_eq!((spec.selected[0].target(), spec.selected[0].name()), ("/srv/a", "/data"));
    }

    #[test]
    fn an_image_is_a_target_of_its_own() {
        let to = |target: Value| {
            let mut body = body();
            let all = json!([{"mount_point_name": "/", "total_size": 3_u64 << 30}, {"mount_point_name": "/data", "total_size": 1}]);
            (body["source"]["storage"]["mount_points"], body["selected_mount_points"], body["migration_target"]) = (all.clone(), all, target);
            body
        };
        let plain = to(json!({"image": {"path": "/srv/images/web1.qcow2"}}));
        let spec = WorkloadSpec::decode(&plain).unwrap();
        let image = spec.target.image().unwrap();
        assert_eq!((image.size_gib, image.format.word(), spec.name.as_str()), (5, "qcow2", "192.168.1.1 to /srv/images/web1.qcow2"));
        let other = WorkloadSpec::decode(&to(json!({"image": {"path": "/srv/a", "size_gib": 20, "format": "qcow2"}}))).unwrap();
        assert_eq!(other.target.image().unwrap().bytes(), 20 << 30);
        let both = problems(&to(json!({"image": {"path": "a", "size_gib": 0, "format": "vmdk", "name": 1}, "cloud_type": "aws", "target_vm": {"ip": ""}})));
        let fields = ["target.cloud_type", "target.target_vm", "target.image.path", "target.image.size_gib", "target.image.format", "target.image.name"];
        assert!(fields.iter().all(|f| both.iter().any(|p| p.contains(f))) && both.len() == fields.len(), "{both:#?}");
        for path in ["/", "/srv/", "/srv/.hidden", "/srv/../x"] {
            assert_eq!(problems(&to(json!({"image": {"path": path}}))).len(), 1, "{path}");
        }
        let mut twice = plain.clone();
        twice["selected_mount_points"][1]["target_directory"] = json!("//");
        assert!(
            problems(&twice)[0].starts_with("selected_mount_points[1].target_directory '//' and '/', where / goes, lie in each other"),
            "{:?}",
            problems(&twice)
        );
        let mut windows = body();
        windows["migration_target"] = json!({"image": {"path": "/srv/a"}});
        assert!(problems(&windows)[0].starts_with("migration_target.image 192.168.1.1 is a Windows server"), "{:?}", problems(&windows));
    }

    #[test]
    fn a_server_may_hold_both_sides_apart_from_each_other() {
        let mut same = body();
        same["migration_target"]["target_vm"]["ip"] = json!("192.168.1.1");
        for (directory, count) in [("D:\\copy", 0), ("C:\\copy", 1), ("c:/", 1)] {
            same["selected_mount_points"][0]["target_directory"] = json!(directory);
            assert_eq!(problems(&same).len(), count, "{directory}: {:?}", problems(&same));
        }
    }
}
