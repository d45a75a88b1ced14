//! What is refused, and with which words.
#![allow(clippy::unwrap_used)]

use super::*;

fn resolve(raw: RawConfig, file: &str) -> Result<Config, ConfigError> {
    let path = std::env::temp_dir().join(format!(
        "switchyard-config-{}-{}.toml",
        std::process::id(),
        rand::random::<u64>()
    ));
    std::fs::write(&path, file).unwrap();
    let result = Config::resolve(RawConfig { config: Some(path.clone()), ..raw });
    std::fs::remove_file(path).unwrap();
    result
}

const KEY: &str = "[keys]\na = \"0123456789abcdef0123456789abcdef\"\n";

#[test]
fn nothing_said_means_loopback() {
    let config = Config::resolve(RawConfig::default()).unwrap();
    assert_eq!(config.listen, DEFAULT_LISTEN);
    assert_eq!(config.media_port, 8080);
    assert!(config.keys.is_empty());
}

#[test]
fn a_flag_wins_over_the_file() {
    let raw = RawConfig { listen: "127.0.0.1:9000".parse().ok(), ..RawConfig::default() };
    let config = resolve(raw, "listen = \"127.0.0.1:7000\"\nmedia_port = 7001\n").unwrap();
    assert_eq!((config.listen.port(), config.media_port), (9000, 7001));
}

#[test]
fn beyond_loopback_needs_keys() {
    for address in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:1", "[::ffff:192.0.2.1]:1"] {
        let raw = || RawConfig { listen: address.parse().ok(), ..RawConfig::default() };
        let error = Config::resolve(raw()).unwrap_err().to_string();
        assert!(error.contains("[keys]") && error.contains("127.0.0.1"), "{error}");
        assert!(resolve(raw(), KEY).is_ok(), "{address}");
    }
    for address in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        let raw = RawConfig { listen: address.parse().ok(), ..RawConfig::default() };
        assert!(Config::resolve(raw).is_ok(), "{address}");
    }
}

#[test]
fn wrong_files_are_named() {
    let cases = [
        ("workers = 2\n\nlisen = 1", "line 3: unknown field `lisen`"),
        ("keys = 1", "line 1"),
        ("[keys]\na = 5", "line 2: a: expected a secret in quotes"),
        ("listen = \"nowhere\"", "listen"),
        ("[keys]\na = \"short\"", "32"),
        ("[keys]\na = { public_key = \"x\" }", "openssl genpkey"),
        ("[keys]\na = { publik_key = \"x\" }", "line 2"),
        ("max_load = 0", "1 to 100"),
        ("drain = 100000", "86400"),
        ("admin_listen = \"127.0.0.1:8080\"", "another port"),
        ("[webhook]\nurls = [\"https://a.example\"]\nkey = \"a\"", "[keys]"),
        ("workers = 0", "1 to 64"),
        ("workers = 9\nmedia_port = 65530", "65530"),
        ("media_ip = [\"0.0.0.0\"]", "0.0.0.0"),
        ("tls_cert = \"a\"", "tls_key"),
        ("tls = \"self-signed\"\ntls_cert = \"a\"\ntls_key = \"b\"", "exclude"),
        ("allow_origin = [\"example.org\"]", "https://example.org"),
        ("allow_origin = [\"*\"]", "scheme"),
        ("[[ice_servers]]\nurls = [\"http://a\"]", "stun:host:port"),
        ("[[ice_servers]]\nurls = []", "stun:host:port"),
        ("[[ice_servers]]\nurls = [\"turn:a>\"]", "stun:host:port"),
        ("[[ice_servers]]\nurls = [\"turn:a\"]", "username"),
        ("[[ice_servers]]\nurls = [\"turn:a\"]\nsecret = \"\"", "secret"),
        (
            "[[ice_servers]]\nurls = [\"turn:a\"]\nusername = \"u\"\ncredential = \"c\"\nsecret = \"s\"",
            "either",
        ),
        ("[[ice_servers]]\nurls = [\"stun:a\"]\nsecrets = \"s\"", "secrets"),
        (
            "[[ice_servers]]\nurls = [\"turn:a\"]\nusername = \"u\"\ncredential = \"a b\"",
            "username",
        ),
    ];
    for (file, expected) in cases {
        let error = resolve(RawConfig::default(), file).unwrap_err().to_string();
        assert!(error.contains(expected), "{file}: {error}");
    }
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let config = resolve(RawConfig::default(), KEY).unwrap();
    assert!(!format!("{config:?}").contains("0123456789abcdef"));
}

#[test]
fn the_page_says_what_holds_and_where_it_comes_from_and_no_secret() {
    use clap::{CommandFactory as _, FromArgMatches as _};
    let path = std::env::temp_dir().join(format!("switchyard-show-{}.toml", rand::random::<u64>()));
    let turn = "[[ice_servers]]\nurls = [\"turn:a\"]\nusername = \"u\"\ncredential = \"hush\"\n";
    let webhook = "[webhook]\nurls = [\"https://a.example/\"]\nkey = \"a\"\n";
    std::fs::write(&path, format!("workers = 3\ndrain = 5\n{turn}{webhook}{KEY}")).unwrap();
    let file = path.to_str().unwrap();
    let arguments =
        ["switchyard", "config", "--listen", "127.0.0.1:9000", "--drain", "7", "--config", file];
    let matches = crate::cli::Cli::command().try_get_matches_from(arguments).unwrap();
    let matches = matches.subcommand_matches("config").unwrap();
    let page = show(RawConfig::from_arg_matches(matches).unwrap(), matches).unwrap();
    std::fs::remove_file(&path).unwrap();
    let line = |start: &str| {
        let line = page.lines().find(|line| line.starts_with(start));
        line.unwrap_or_else(|| panic!("no {start} in {page}")).to_owned()
    };
    assert!(line("listen = \"127.0.0.1:9000\"").ends_with("# --listen"));
    assert!(line("drain = 7").ends_with("# --drain"), "a flag wins over the file");
    assert!(line("workers = 3").ends_with(file));
    assert!(line("max_load = 90").ends_with("# default"));
    assert!(line("a = \"…\"").ends_with("# HS256"));
    assert!(!page.contains("0123456789abcdef") && !page.contains("hush"), "{page}");
}
