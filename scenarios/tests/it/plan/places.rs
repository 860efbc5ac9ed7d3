//! A WordPress whose configuration lies above its web root and whose uploads lie elsewhere.

use super::drive::{Driven, output};
use super::wordpress::{World, connect, rows};
use super::{settings, write};
use engine::RunState;
use mysql_async::prelude::Queryable;
use serde_json::{Value, json};
use std::path::Path;

/// The site's web root becomes `site/public`, with the configuration in `site`.
fn move_apart(dir: &Path) {
    std::fs::create_dir_all(dir.join("site")).expect("a directory");
    std::fs::rename(dir.join("from"), dir.join("site/public")).expect("the web root");
    std::fs::rename(dir.join("site/public/wp-config.php"), dir.join("site/wp-config.php")).expect("the configuration");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_above_the_web_root_is_found_and_written_where_it_was_asked_for() {
    for above in [false, true] {
        let world = World::new().await;
        let dir = world.dir.path();
        move_apart(dir);
        let mut document = world.document();
        document["source"]["paths"]["web_root"] = json!(dir.join("site/public"));
        let mut place = dir.join("to");
        if above {
            document["destination"]["paths"] = json!({"web_root": dir.join("new/public"), "config": dir.join("new")});
            write(&dir.join("new/wp-config.php"), "<?php // before");
            place = dir.join("new");
        }
        let before = std::fs::read_to_string(place.join("wp-config.php")).expect("an older configuration");
        let driven = Driven::open(dir, plans::registry(settings(dir))).await;
        driven.start(document, false).await;
        let run = driven.completed().await;
        let config = std::fs::read_to_string(place.join("wp-config.php")).expect("the configuration");
        assert!(config.contains(&format!("'DB_NAME', '{}'", world.to)), "{config}");
        assert!(!above || !dir.join("new/public/wp-config.php").exists());
        let report = output(&run, "finish");
        assert_eq!(report["configuration"]["directory"], json!(place), "{report:#}");
        assert!(report["warnings"].to_string().contains("one directory above"), "{report:#}");
        let run = driven.rollback(Value::Null).await;
        assert_eq!(run.state, RunState::RolledBack, "{:?}", run.error);
        assert_eq!(std::fs::read_to_string(place.join("wp-config.php")).expect("restored"), before);
        driven.crash().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_the_web_root_would_hide_is_refused() {
    let world = World::new().await;
    let dir = world.dir.path();
    let mut document = world.document();
    document["destination"]["paths"]["config"] = json!(dir);
    let driven = Driven::open(dir, plans::registry(settings(dir))).await;
    driven.start(document, false).await;
    let run = driven.ended().await;
    let message = run.error.expect("an error").message;
    assert!(run.state == RunState::Failed && message.contains("would never read"), "{message}");
    driven.crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_outside_the_web_root_move_into_their_place() {
    // Named by the option, by the constant, and by the document with a place of its own.
    for named in ["option", "constant", "document"] {
        let world = World::new().await;
        let dir = world.dir.path();
        let media = dir.join("media");
        write(&media.join("2024/photo.jpg"), "photo");
        write(&media.join("b.txt"), "b");
        let mut document = world.document();
        let mut place = "wp-content/uploads";
        match named {
            "option" => {
                let sql = format!("INSERT INTO {}.wp_options(option_name, option_value) VALUES ('upload_path', '{}')", world.from, media.display());
                connect(testkit::rig::mariadb()).await.query_drop(sql).await.expect("the option");
            }
            "constant" => {
                let config = dir.join("from/wp-config.php");
                let text = std::fs::read_to_string(&config).expect("the configuration");
                std::fs::write(config, text.replace("$table_prefix", "define('UPLOADS', '../media');\n$table_prefix")).expect("the configuration");
            }
            _ => {
                document["source"]["paths"]["uploads"] = json!(media);
                document["destination"]["paths"]["uploads"] = json!(dir.join("to/files"));
                place = "files";
            }
        }
        let before = World::state(dir, &world.from, &world.to).await;
        let driven = Driven::open(dir, plans::registry(settings(dir))).await;
        driven.start(document, false).await;
        let run = driven.completed().await;
        let read = |name: &str| std::fs::read_to_string(dir.join("to").join(place).join(name)).expect("an upload");
        assert_eq!((read("2024/photo.jpg").as_str(), read("b.txt").as_str()), ("photo", "b"), "{named}");
        assert_eq!(dir.join("to/wp-content/uploads/a.txt").exists(), named == "document", "what the mounted directory hides stays behind");
        match named {
            "option" => assert_eq!(rows(&world.to, "SELECT option_value FROM DB.wp_options WHERE option_name = 'upload_path'").await, [""]),
            "constant" => {
                let config = std::fs::read_to_string(dir.join("to/wp-config.php")).expect("the configuration");
                assert!(config.contains("define('UPLOADS', 'wp-content/uploads')"), "{config}");
            }
            _ => {}
        }
        let report = output(&run, "finish");
        assert_eq!(report["uploads"], json!({"from": media, "to": place}), "{report:#}");
        assert!(!report["leftovers"].to_string().contains("media"), "{report:#}");
        let run = driven.rollback(Value::Null).await;
        assert_eq!(run.state, RunState::RolledBack, "{:?}", run.error);
        assert_eq!(World::state(dir, &world.from, &world.to).await, before, "{named}");
        driven.crash().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_for_uploads_outside_the_destination_is_refused() {
    let world = World::new().await;
    let dir = world.dir.path();
    write(&dir.join("media/b.txt"), "b");
    let mut document = world.document();
    document["source"]["paths"]["uploads"] = json!(dir.join("media"));
    document["destination"]["paths"]["uploads"] = json!(dir.join("elsewhere"));
    let driven = Driven::open(dir, plans::registry(settings(dir))).await;
    driven.start(document, false).await;
    let run = driven.ended().await;
    let message = run.error.expect("an error").message;
    assert!(run.state == RunState::Failed && message.contains("outside the destination's web root"), "{message}");
    assert!(!dir.join("elsewhere").exists());
    driven.crash().await;
}
