//! A PostgreSQL database for the product's own store, owned by an ordinary role: walls between tenants hold for it. Both go at the end.

use crate::rig::Server;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// See the module's comment.
pub struct ProductDatabase {
    server: Server,
    name: String,
}

impl ProductDatabase {
    /// A new one on `server`; `purpose` is the beginning of its name.
    pub fn make(server: Server, purpose: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{purpose}_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let made = Self { server, name };
        let Self { name, server } = &made;
        let role = format!("CREATE ROLE {name} LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD '{}'", server.password);
        made.administer(&[&role, &format!("CREATE DATABASE {name} OWNER {name}")]).unwrap_or_else(|e| panic!("no database {name}: {e}"));
        made
    }

    /// For the product: as the ordinary role.
    pub fn url(&self) -> String {
        self.url_as(&self.name)
    }

    /// As the superuser, whom no wall stops.
    pub fn superuser_url(&self) -> String {
        self.url_as(&self.server.user)
    }

    fn url_as(&self, user: &str) -> String {
        let Server { host, port, password, .. } = &self.server;
        format!("postgres://{user}:{password}@{host}:{port}/{}", self.name)
    }

    fn administer(&self, statements: &[&str]) -> Result<(), String> {
        let Server { host, port, user, password } = &self.server;
        let mut psql = Command::new("psql");
        psql.args(["-h", host, "-p", &port.to_string(), "-U", user, "-qAt", "-v", "ON_ERROR_STOP=1"]).env("PGPASSWORD", password);
        for statement in statements {
            psql.args(["-c", statement]);
        }
        let output = psql.arg("postgres").output().map_err(|e| format!("psql: {e}"))?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }
}

impl Drop for ProductDatabase {
    fn drop(&mut self) {
        let name = &self.name;
        if let Err(error) = self.administer(&[&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"), &format!("DROP ROLE IF EXISTS {name}")]) {
            eprintln!("the database {name} stays: {error}");
        }
    }
}
