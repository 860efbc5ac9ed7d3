//! New databases are made as their source is, where the server can.

use super::{Fixture, Throwaway};
use crate::moving::latest;
use crate::suite::{assert_equal, copy};
use ports::databases::{Applied, Schema};
use testkit::rig;

const KIND: &str = "SELECT pg_encoding_to_char(encoding) || ' ' || datcollate || ' ' || datctype || ' ' || datlocprovider::text FROM pg_database \
    WHERE datname = current_database()";

#[tokio::test]
async fn a_new_database_takes_over_encoding_and_locale() {
    for options in ["ENCODING 'LATIN1' LOCALE 'C'", "ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'"] {
        let (source, destination) = (Throwaway::absent(rig::postgres15()), Throwaway::absent(rig::postgres18()));
        source.on_server(&format!("CREATE DATABASE {} TEMPLATE template0 {options}", source.name)).await;
        source.run(&["CREATE TABLE t (word text PRIMARY KEY); INSERT INTO t VALUES ('äöü'), ('b'), ('B')"]).await;
        let (a, b) = (source.open().await, destination.open().await);
        copy(&*a, &*b, 2).await;
        assert_equal(&*a, &*b, &[]).await;
        assert_eq!(destination.value(KIND).await, source.value(KIND).await, "{options}");
    }
}

#[tokio::test]
async fn a_locale_of_the_builtin_provider_is_taken_over() {
    let (source, destination) = (Throwaway::absent(rig::postgres18()), Throwaway::absent(rig::postgres18()));
    source.on_server(&format!("CREATE DATABASE {} TEMPLATE template0 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'", source.name)).await;
    let schema = latest(&source.open().await).await.schema().await.unwrap();
    let made = destination.open().await.write().await.unwrap().prepare(&schema).await.unwrap();
    assert_eq!(made, Some(Applied::AsIs));
    assert_eq!(destination.value(KIND).await, source.value(KIND).await);
}

#[tokio::test]
async fn a_locale_that_the_server_lacks_is_told() {
    let destination = Throwaway::absent(rig::postgres18());
    let making = "ENCODING 'UTF8' LC_COLLATE 'tlh_KX' LC_CTYPE 'tlh_KX' LOCALE_PROVIDER libc".to_owned();
    let schema = Schema { making, ..Schema::default() };
    let made = destination.open().await.write().await.unwrap().prepare(&schema).await.unwrap();
    let Some(Applied::Adapted(change)) = made else { panic!("{made:?}") };
    assert!(change.contains("tlh_KX") && change.contains("invalid LC_COLLATE locale name"), "{change}");
    assert!(destination.value(KIND).await.starts_with("UTF8 "));
}
