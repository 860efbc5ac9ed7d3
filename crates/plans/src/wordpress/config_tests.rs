use super::*;

const CONFIG: &str = r#"<?php
/** The name of the database: define('DB_NAME', 'a comment'); */
define( 'DB_NAME', 'wordpress_db' );
# define('DB_USER', 'nobody');
define("DB_USER", "wp_\"user\"");  // define('DB_USER', 'x') ?
define ( 'DB_PASSWORD' , 'it\'s \\ a $ecret' ) ;
DEFINE('DB_HOST', 'db.internal:3307');
define('DB_CHARSET', 'utf8mb4'); define('DB_COLLATE', '');
const WP_HOME = 'http://old.example.com';
define('AUTH_KEY', 'x"); define(\'DB_NAME\', \'fake\');');
$table_prefix = 'shop_';
if ( $table_prefix == 'nothing' ) { exit; }
define('MULTISITE', true);
$doc = <<<TEXT
define('DB_NAME', 'in a heredoc');
TEXT;
/* That's all, stop editing! */
require_once ABSPATH . 'wp-settings.php';
?>
define('DB_NAME', 'outside of PHP');
"#;

fn values(pairs: &[(&'static str, &str)]) -> BTreeMap<&'static str, String> {
    pairs.iter().map(|(k, v)| (*k, (*v).to_owned())).collect()
}

#[test]
fn values_are_read_as_php_reads_them() {
    let config = Config::parse(CONFIG.as_bytes()).unwrap();
    let text = |name: &str| config.text(name).unwrap();
    assert_eq!(text("DB_NAME"), "wordpress_db");
    assert_eq!(text("DB_USER"), "wp_\"user\"");
    assert_eq!(text("DB_PASSWORD"), r"it's \ a $ecret");
    assert_eq!(text("WP_HOME"), "http://old.example.com");
    assert_eq!(config.table_prefix().unwrap(), "shop_");
    assert_eq!(config.host().unwrap(), DbHost { host: "db.internal".into(), port: Some(3307), socket: None });
    assert!(config.is_on("MULTISITE") && !config.is_on("WP_DEBUG"));
    assert!(!format!("{config:?}").contains("ecret"), "no value in a debug text");
}

#[test]
fn only_the_values_change_and_every_other_byte_stays() {
    let new = values(&[("DB_NAME", "new_db"), ("DB_USER", "u"), ("DB_PASSWORD", r"p'w\d"), ("DB_HOST", "db:3308")]);
    let home = |text: &[u8]| (text == b"http://old.example.com").then(|| b"https://new.org".to_vec());
    let out = rewrite(CONFIG.as_bytes(), &new, &home).unwrap();
    assert_eq!(out.changed, ["DB_NAME", "DB_USER", "DB_PASSWORD", "DB_HOST", "WP_HOME"]);
    let text = String::from_utf8(out.text.clone()).unwrap();
    insta::assert_snapshot!(text);
    let again = rewrite(&out.text, &new, &home).unwrap();
    assert_eq!(again.changed, Vec::<String>::new());
    assert_eq!(again.text, out.text, "writing twice has the effect of once");
    assert_eq!(Config::parse(&out.text).unwrap().text("DB_PASSWORD").unwrap(), r"p'w\d");
}

#[test]
fn computed_values_are_named_by_their_form_and_can_be_replaced() {
    let file = "<?php define('DB_NAME', getenv('SECRET_NAME')); define('DB_USER', $_ENV['x']); define('DB_PASSWORD', \"a{$b}c\");\n\
        define('DB_HOST', 'a' . 'b'); $table_prefix = getenv_docker('P', 'wp_');";
    let config = Config::parse(file.as_bytes()).unwrap();
    let errors = ["DB_NAME", "DB_USER", "DB_PASSWORD", "DB_HOST", "DB_CHARSET"].map(|n| config.text(n).unwrap_err().to_string()).join("\n");
    let errors = format!("{errors}\n{}", config.table_prefix().unwrap_err());
    assert!(!errors.contains("SECRET_NAME"), "{errors}");
    insta::assert_snapshot!(errors);
    let out = rewrite(file.as_bytes(), &values(&[("DB_NAME", "n"), ("DB_PASSWORD", "p")]), &|_| None).unwrap();
    let text = String::from_utf8(out.text).unwrap();
    assert!(text.starts_with("<?php define('DB_NAME', 'n'); define('DB_USER', $_ENV['x']); define('DB_PASSWORD', 'p');"), "{text}");
}

#[test]
fn a_missing_definition_is_not_invented() {
    let error = rewrite(b"<?php define('DB_NAME', 'x');", &values(&[("DB_HOST", "h")]), &|_| None).unwrap_err();
    assert_eq!(error, ConfigError::Missing("DB_HOST".into()));
}

#[test]
fn two_different_definitions_are_not_guessed_between() {
    let file =
        b"<?php if ($x) { define('DB_NAME', 'a'); } else { define('DB_NAME', 'b'); } define('DB_USER','u'); defined('DB_USER') || define('DB_USER', 'u');";
    let config = Config::parse(file).unwrap();
    assert_eq!(config.text("DB_NAME"), Err(ConfigError::Ambiguous("DB_NAME".into())));
    assert_eq!(config.text("DB_USER").unwrap(), "u");
}

#[test]
fn hosts_are_split_as_wordpress_splits_them() {
    for (text, host, port, socket) in [
        ("localhost", "localhost", None, None),
        ("127.0.0.1:13306", "127.0.0.1", Some(13306), None),
        ("localhost:/run/mysqld.sock", "localhost", None, Some("/run/mysqld.sock")),
        (":/run/mysqld.sock", "localhost", None, Some("/run/mysqld.sock")),
        ("[::1]:3307", "::1", Some(3307), None),
        ("::1", "::1", None, None),
        ("db:3306:/s", "db", Some(3306), Some("/s")),
    ] {
        assert_eq!(split_host(text), DbHost { host: host.into(), port, socket: socket.map(str::to_owned) }, "{text}");
    }
}

#[test]
fn unfinished_files_are_errors_with_a_line() {
    for (file, said) in [
        ("<?php\n\ndefine('DB_NAME', 'x);", "the file ends inside a string that begins on line 3"),
        ("<?php /* no end", "the file ends inside a comment that begins on line 1"),
        ("<?php $x = <<<A\nb", "the file ends inside a heredoc that begins on line 1"),
    ] {
        assert_eq!(Config::parse(file.as_bytes()).unwrap_err().to_string(), said);
    }
}

proptest::proptest! {
    #[test]
    fn any_password_survives(password in "[ -~é😀\\\\'\"$]{0,20}") {
        let out = rewrite(CONFIG.as_bytes(), &values(&[("DB_PASSWORD", &password)]), &|_| None).unwrap();
        proptest::prop_assert_eq!(Config::parse(&out.text).unwrap().text("DB_PASSWORD").unwrap(), password);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), cut in 0usize..900) {
        let mut file = CONFIG.as_bytes()[..cut.min(CONFIG.len())].to_vec();
        file.extend(bytes);
        let _ = rewrite(&file, &BTreeMap::new(), &|_| None);
    }
}
