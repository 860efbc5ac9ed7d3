use super::*;
use serde_json::json;

fn sample() -> Value {
    json!({
        "report_version": 1, "migration_id": "0198", "name": "Shop <script>alert(1)</script>", "result": "completed with warnings", "partial": true,
        "finished_at": "2024-08-26T14:30:22Z", "copied_at": "2024-08-26T14:29:58Z", "status": "rolled_back", "rolled_back": true,
        "source": {"type": "wordpress", "files": "sftp://user@old:22/var/www", "database": null, "url": null},
        "destination": {"type": "server", "files": "/srv/new", "database": "mysql://u@new:3306/shop", "url": "https://new.example"},
        "summary": {"files": 3, "bytes": 2_411_724, "size": "2.3 MB", "files_unchanged": 1, "symlinks": 0, "directories": 2, "removed": 0, "tables": 1, "rows": 12,
            "database_bytes": 4096, "standstill_seconds": 4.25},
        "steps": [{"name": "validate", "title": "Validating configuration", "duration_seconds": 0.8}, {"name": "backup", "title": "Creating backup", "duration_seconds": null}],
        "last_pass": {"files": {}, "database": null, "maintenance": {"used": true, "unavailable": null}},
        "left_out": [{"pattern": "/wp-content/cache", "entries": 9, "bytes": 90000}],
        "addresses": {"from": ["http://old.example"], "to": "https://new.example", "tables": {"wp_options": 2}, "rows": 2, "left_count": 0, "left": []},
        "verification": {"verified": true, "files": {"files": 3, "mismatched": 0}, "database": {"tables": [{"table": "wp_options", "rows_destination": 12, "equal": true, "edited": 2}]}},
        "adapted": [], "leftovers": [{"kind": "file", "name": "a/device", "reason": "a device is never moved"}], "leftovers_count": 1,
        "warnings": ["clocks differ by 3 s"],
        "backup": {"id": "backup-20240826-143022", "bytes": 4096, "state": "verified", "expires": "2024-09-25T14:30:22Z"},
        "rollback": "To take everything back: migration-assistant rollback 0198."
    })
}

#[test]
fn the_page_says_everything_and_escapes_what_it_shows() {
    let page = html(&sample());
    assert!(!page.contains("<script>") && !page.contains("http://cdn"), "nothing active, nothing from outside");
    assert!(page.contains("4.2s") || page.contains("4.3s"), "{page}");
    insta::assert_snapshot!(page);
}

#[test]
fn a_report_without_any_part_is_still_a_page() {
    let bare =
        json!({"name": "x", "verification": {"verified": false, "reason": "verify_after is off"}, "summary": {"database_bytes": 0, "standstill_seconds": 0.0}});
    let page = html(&bare);
    assert!(page.contains("Not verified: verify_after is off") && !page.contains("could not be made"), "{page}");
}
