//! What this build can move, in document 3's words.

use domain::spec::SystemKind;
use serde::Serialize;
use utoipa::ToSchema;

/// Answer of `GET /`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct About {
    #[schema(example = "Web & Database Migration Assistant API")]
    pub name: &'static str,
    #[schema(example = "1.0.0")]
    pub version: String,
    pub description: &'static str,
    #[schema(example = "/docs")]
    pub docs_url: &'static str,
    #[schema(example = "/redoc")]
    pub redoc_url: &'static str,
    #[schema(example = "/health")]
    pub health_url: &'static str,
    pub features: Vec<&'static str>,
}

/// Answer of `GET /system/types`: the words that a configuration may use.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Types {
    pub system_types: Vec<&'static str>,
    pub transfer_methods: Vec<&'static str>,
    pub database_types: Vec<&'static str>,
    /// The words among them that this version really moves; the others are refused when a migration is created.
    pub supported: Supported,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Supported {
    pub system_types: Vec<&'static str>,
    pub database_types: Vec<&'static str>,
}

/// The words of the systems that this version moves.
pub(crate) fn supported_types() -> Vec<&'static str> {
    let not_yet = [SystemKind::Mongodb, SystemKind::GcpGcs, SystemKind::AzureBlob];
    SystemKind::ALL.iter().filter(|(_, kind)| !not_yet.contains(kind)).map(|(word, _)| *word).collect()
}

impl crate::Control {
    pub fn about(&self) -> About {
        About {
            name: "Web & Database Migration Assistant API",
            version: self.version().to_owned(),
            description: "A comprehensive REST API for migrating web applications and databases",
            docs_url: "/docs",
            redoc_url: "/redoc",
            health_url: "/health",
            features: vec![
                "Async migration execution",
                "Real-time progress tracking",
                "Multiple transfer methods",
                "Database migration support",
                "Backup and rollback capabilities",
                "Platform-specific adapters",
                "Comprehensive validation",
            ],
        }
    }

    pub fn types(&self) -> Types {
        let system_types: Vec<_> = SystemKind::ALL.iter().map(|(word, _)| *word).collect();
        Types {
            system_types,
            transfer_methods: domain::spec::TransferMethod::ALL.iter().map(|(word, _)| *word).collect(),
            database_types: vec!["mysql", "mariadb", "postgresql", "mongodb", "redis", "sqlite", "aurora-mysql", "aurora-postgres", "cloud-sql"],
            supported: Supported {
                system_types: supported_types(),
                database_types: vec!["mysql", "mariadb", "postgresql", "sqlite", "aurora-mysql", "aurora-postgres", "cloud-sql"],
            },
        }
    }
}
