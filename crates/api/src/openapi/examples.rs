//! Examples in the OpenAPI document: document 3's own.

use serde_json::{Value, json};

pub(crate) fn migration() -> Value {
    json!({
        "name": "WordPress to AWS Migration",
        "description": "Migrating company website to AWS infrastructure",
        "source": {
            "type": "wordpress", "host": "old-server.com", "port": 22, "username": "user", "password": "secure_password",
            "host_key": "SHA256:uNiVztksCsDhcc0u9e8BgrJXVGDi2Bgn2Ft8X4l8j6M",
            "paths": {"web_root": "/var/www/html", "uploads": "/var/www/html/wp-content/uploads"},
            "database": {"type": "mysql", "host": "old-server.com", "port": 3306, "username": "wp_user", "password": "wp_password", "database": "wordpress_db"},
        },
        "destination": {
            "type": "aws-s3", "region": "us-east-1", "bucket": "my-new-website",
            "database": {"type": "aurora-mysql", "cluster": "my-website-cluster", "username": "admin", "password": "admin_password"},
        },
        "transfer": {"method": "hybrid_sync", "options": {"compression": true, "parallel_transfers": 4, "chunk_size": "10MB", "resume_on_failure": true, "verify_checksums": true}},
        "safety": {"backup_before": true, "backup_retention_days": 30, "rollback_on_failure": true, "verify_after": true, "maintenance_mode": true},
        "notifications": {
            "email": {"enabled": true, "recipients": ["admin@example.com"]},
            "webhook": {"enabled": true, "url": "https://api.example.com/migration-webhook"},
        },
    })
}

pub(crate) fn rollback() -> Value {
    json!({"backup_id": "backup-20240826-143022", "rollback_options": {"restore_files": true, "restore_database": true, "restore_configuration": true}, "discard_later_changes": false})
}

/// An envelope as it is answered with this code.
pub(crate) fn error(code: &str) -> Value {
    let id = "abc123def456";
    let (message, details) = match code {
        "INVALID_CONFIGURATION" => (
            "Invalid migration configuration",
            json!({"validation_errors": [
                {"field": "source.type", "message": "Invalid system type: 'invalid_type' (one of: wordpress, drupal, …)"},
                {"field": "destination.bucket", "message": "S3 bucket name contains invalid characters: only a-z, 0-9, '-' and '.' are allowed"},
            ]}),
        ),
        "INVALID_REQUEST" => {
            ("Invalid request body", json!({"validation_errors": [{"field": "auto_rollback", "message": "must be true or false, not a string"}]}))
        }
        "INVALID_PARAMETERS" => {
            ("Invalid query parameters", json!({"validation_errors": [{"field": "limit", "message": "must be a whole number from 1 to 1000, not '0'"}]}))
        }
        "MALFORMED_JSON" => ("The body is not valid JSON: expected `,` or `}` at line 3 column 5", json!({"line": 3, "column": 5})),
        "UNSUPPORTED_MEDIA_TYPE" => {
            ("The body must be JSON: send it with Content-Type: application/json", json!({"content_type": "text/plain", "supported": ["application/json"]}))
        }
        "PAYLOAD_TOO_LARGE" => ("The body is larger than 1.0 MB", json!({"limit_bytes": 1_048_576})),
        "VALIDATION_FAILED" => (
            "Pre-migration validation failed",
            json!({"failed_checks": [{
                "check": "source_connectivity", "error": "could not connect to old-server.com:22: connection refused",
                "suggestion": "Check the host name and the port, network connectivity and firewall settings", "field": "source.host", "kind": "unreachable", "retryable": true,
            }]}),
        ),
        "MIGRATION_NOT_FOUND" => ("Migration session not found", json!({"session_id": "invalid-session-id"})),
        "MIGRATION_ALREADY_RUNNING" => {
            ("Migration session is already running", json!({"session_id": id, "current_status": "running", "started_at": "2024-08-26T14:30:22.123456"}))
        }
        "INVALID_STATE" => {
            ("Cannot pause this migration: it is completed. It is not running any more.", json!({"session_id": id, "current_status": "completed"}))
        }
        "BACKUP_NOT_FOUND" => ("Backup not found", json!({"backup_id": "backup-20240826-143022"})),
        "BACKUP_UNUSABLE" => ("Backup backup-20240826-143022 belongs to another migration", json!({"backup_id": "backup-20240826-143022", "session_id": id})),
        "LATER_CHANGES" => (
            "Cannot roll this migration back: 1 tables at the destination were changed by others: orders (120 rows then, 123 now). Nothing was touched. With discard_later_changes they are saved first and then taken back",
            json!({"session_id": id, "tables": [{"table": "orders", "rows_written": 120, "rows_now": 123, "ranges_changed": 1, "ranges": 4}], "cutover_at": "2024-08-26T14:30:22Z", "backup_id": null}),
        ),
        "REPORT_NOT_READY" => (
            "There is no report yet: the migration is running. Its status and logs tell what happened so far",
            json!({"session_id": id, "current_status": "running"}),
        ),
        "UPGRADE_REQUIRED" => ("This address speaks WebSocket only; poll /migrations/{session_id}/status instead", json!({})),
        "SERVICE_UNAVAILABLE" => ("The journal of migrations does not answer now; the same request may succeed in a moment", json!({})),
        _ => ("An unexpected error occurred", json!({"error_id": "err-abc123def456", "support_contact": "support@migration-assistant.com"})),
    };
    json!({"error": {"code": code, "message": message, "details": details, "timestamp": "2024-08-26T14:30:22.123456", "request_id": "req-abc123def456"}})
}
