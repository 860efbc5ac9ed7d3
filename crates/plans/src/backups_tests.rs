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
    assert_eq!(id_at(now, 1), "backup-20240826-143022");
    assert_eq!(id_at(now, 2), "backup-20240826-143022-2");
}

#[tokio::test]
async fn a_name_is_given_once_and_only_to_its_owner_readable() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(&dir);
    assert!(reserve(&settings, "backup-1").await.unwrap());
    assert!(!reserve(&settings, "backup-1").await.unwrap());
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
        assert!(reserve(&settings, id).await.unwrap());
        write(&settings, &backup(id, tenant, now + hours.hours())).await.unwrap();
    }
    let ids = |list: Vec<Backup>| list.into_iter().map(|b| b.id).collect::<Vec<_>>();
    assert_eq!(ids(list(&settings, "one").await.unwrap()), ["backup-b", "backup-a"]);
    assert_eq!(get(&settings, "one", "backup-c").await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(delete(&settings, "one", "backup-c").await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(enforce_retention(&settings, now).await.unwrap(), ["backup-b"]);
    assert!(!settings.backups_dir.join("backup-b").exists());
    delete(&settings, "one", "backup-a").await.unwrap();
    assert_eq!(ids(list(&settings, "one").await.unwrap()), Vec::<String>::new());
}
