use super::*;
use jiff::ToSpan;

struct NoConnectors;

#[async_trait::async_trait]
impl ports::Connectors for NoConnectors {
    async fn files(&self, at: &domain::spec::FilesAt, _: usize) -> Result<std::sync::Arc<dyn ports::files::FileTarget>> {
        Err(ConnectorError::new(ErrorKind::Unsupported, "open", at.describe(), "no connector in this test"))
    }

    async fn database(&self, at: &domain::spec::DatabaseAt, _: usize) -> Result<std::sync::Arc<dyn ports::databases::Database>> {
        Err(ConnectorError::new(ErrorKind::Unsupported, "open", at.describe(), "no connector in this test"))
    }
}

fn settings(dir: &tempfile::TempDir) -> Settings {
    Settings {
        connectors: std::sync::Arc::new(NoConnectors),
        backups_dir: dir.path().join("backups"),
        work_dir: dir.path().join("work"),
        machines: None,
        images: None,
    }
}

fn backup(id: &str, tenant: &str, expires: Timestamp) -> Backup {
    Backup {
        id: id.to_owned(),
        tenant: tenant.to_owned(),
        run: "r1".to_owned(),
        name: "x".to_owned(),
        state: BackupState::Verified,
        created: "2024-08-26T14:30:22Z".parse().unwrap(),
        expires,
        bytes: 0,
        parts: Vec::new(),
    }
}

#[test]
fn ids_are_as_the_document_prints_them() {
    let now: Timestamp = "2024-08-26T14:30:22.9Z".parse().unwrap();
    let (one, other) = (id_at(now, "r1"), id_at(now, "r2"));
    assert!(one.starts_with("backup-20240826-143022-") && one.len() == 31, "{one}");
    assert_ne!(one, other, "two nodes may begin one in the same second");
}

async fn context() -> StepContext {
    StepContext::for_test("backup", json!({}), json!({}), std::collections::BTreeMap::new()).await
}

#[tokio::test]
async fn begin_repeated_keeps_the_backup_and_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let (settings, cx) = (settings(&dir), context().await);
    let first = begin(&settings, &cx, "shop", 7).await.unwrap();
    write(&settings, &Backup { state: BackupState::Verified, bytes: 5, ..first.clone() }).await.unwrap();
    let again = begin(&settings, &cx, "shop", 7).await.unwrap();
    assert_eq!((again.id, again.state, again.bytes, again.created), (first.id, BackupState::Writing, 0, first.created));
}

#[tokio::test]
async fn begin_without_the_backup_that_was_made_is_an_error_and_forgets_nothing() {
    let (here, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let cx = context().await;
    let made = begin(&settings(&here), &cx, "shop", 7).await.unwrap();
    let refused = begin(&settings(&elsewhere), &cx, "shop", 7).await.unwrap_err();
    assert!(!refused.temporary && refused.message.contains(&made.id), "{refused:?}");
    assert_eq!(cx.recall(NOTE).await.unwrap(), Some(json!(made.id)), "the record of what can be taken back stays");
    assert_eq!(all(&settings(&elsewhere)).await.unwrap(), [], "no other backup is made in its place");
    assert_eq!(begin(&settings(&here), &cx, "shop", 7).await.unwrap().id, made.id, "where it lies it goes on");
}

#[tokio::test]
async fn begin_after_a_crash_before_the_manifest_takes_the_reserved_name() {
    let dir = tempfile::tempdir().unwrap();
    let (settings, cx) = (settings(&dir), context().await);
    cx.remember(RESERVED, Some(json!("backup-20240826-143022-00000000"))).await.unwrap();
    reserve(&settings, "backup-20240826-143022-00000000").await.unwrap();
    assert_eq!(begin(&settings, &cx, "shop", 7).await.unwrap().id, "backup-20240826-143022-00000000");
}

#[test]
fn a_place_of_backups_has_one_name_and_another_place_has_another() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let names: Vec<_> = std::thread::scope(|scope| {
        let ask = || scope.spawn(|| node_of(&settings(&one)).unwrap());
        [ask(), ask(), ask()].into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
    assert_ne!(names[0], node_of(&settings(&other)).unwrap());
}

#[tokio::test]
async fn a_directory_is_only_readable_to_its_owner_and_its_name_is_plain() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(&dir);
    reserve(&settings, "backup-1").await.unwrap();
    reserve(&settings, "backup-1").await.unwrap();
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(settings.backups_dir.join("backup-1")).unwrap());
    assert_eq!(mode & 0o777, 0o700);
    for bad in ["../etc", "backup-/..", "x", "backup-.."] {
        assert_eq!(reserve(&settings, bad).await.unwrap_err().kind, ErrorKind::NotFound, "{bad}");
    }
}

#[tokio::test]
async fn tenants_see_their_own_and_retention_removes_what_is_due() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(&dir);
    let now = Timestamp::now();
    for (id, tenant, hours) in [("backup-a", "one", 1), ("backup-b", "one", -1), ("backup-c", "two", 1)] {
        reserve(&settings, id).await.unwrap();
        write(&settings, &backup(id, tenant, now + hours.hours())).await.unwrap();
    }
    let ids = |list: Vec<Backup>| list.into_iter().map(|b| b.id).collect::<Vec<_>>();
    assert_eq!(ids(list(&settings, "one").await.unwrap()), ["backup-b", "backup-a"]);
    assert_eq!(get(&settings, "one", "backup-c").await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(delete(&settings, "one", "backup-c").await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(ids(expired(&settings, now).await.unwrap()), ["backup-b"]);
    delete(&settings, "one", "backup-b").await.unwrap();
    assert!(!settings.backups_dir.join("backup-b").exists());
    delete(&settings, "one", "backup-a").await.unwrap();
    assert_eq!(ids(list(&settings, "one").await.unwrap()), Vec::<String>::new());
}
