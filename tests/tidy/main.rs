//! Holds what no compiler holds: crate edges, file sizes, where unsafe code and clocks may be, and that
//! documentation leads somewhere. Each rule is also shown something that it must refuse.
#![allow(clippy::unwrap_used)]

mod rules;
mod styles;
mod tree;

use serde_json::{Value, json};
use tree::{Source, sources, top};

fn assert_none(breaches: &[String]) {
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

fn metadata() -> Value {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(top())
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn crates_depend_downwards_only() {
    assert_none(&rules::crate_edges(&metadata()));
}

#[test]
fn an_upward_edge_is_refused() {
    let package = |name: &str, dependencies: &[&str]| {
        let dependencies: Vec<Value> =
            dependencies.iter().map(|d| json!({"name": d, "kind": null})).collect();
        json!({"name": name, "dependencies": dependencies})
    };
    let metadata = json!({"packages": [
        package("sfu-rtp", &["sfu-core"]), package("sfu-core", &["sfu-rtp", "tokio"]),
        package("sfu", &["sfu-core"]), package("signaling", &["sfu", "sfu-rtp"]),
        package("signaling-sdp", &["sfu"]),
    ]});
    let breaches = rules::crate_edges(&metadata);
    assert_eq!(breaches.len(), 3, "{breaches:?}");
}

#[test]
fn files_are_short() {
    assert_none(&rules::file_sizes(&sources()));
}

#[test]
fn a_long_file_is_refused_and_its_tests_do_not_count() {
    let long = Source::new("sfu/src/a.rs", &"x\n".repeat(501));
    let tested = Source::new(
        "sfu/src/b.rs",
        &format!("{}#[cfg(test)]\n{}", "x\n".repeat(500), "y\n".repeat(500)),
    );
    assert_eq!(rules::file_sizes(&[long, tested]).len(), 1);
}

#[test]
fn no_banned_words() {
    assert_none(&rules::banned_words(&sources()));
}

#[test]
fn a_banned_word_is_refused() {
    let text = concat!("// TO", "DO later\nlet mastodon = XX", "XX;\n");
    assert_eq!(rules::banned_words(&[Source::new("sfu/src/a.rs", text)]).len(), 1);
}

#[test]
fn no_registry_is_named() {
    assert_none(&rules::registry_hosts(&sources()));
}

#[test]
fn a_registry_is_refused() {
    let text = concat!("see https://registry.npm", "js.org/x\n");
    assert_eq!(rules::registry_hosts(&[Source::new("README.md", text)]).len(), 1);
}

#[test]
fn unsafe_code_stays_in_the_socket_module() {
    assert_none(&rules::unsafe_code(&sources()));
}

#[test]
fn unsafe_code_elsewhere_or_unexplained_is_refused() {
    let sources = [
        Source::new("sfu/src/worker.rs", "// SAFETY: no\nunsafe { f() }\n"),
        Source::new("sfu/src/socket/linux.rs", "unsafe { f() }\n"),
        Source::new(
            "sfu/src/socket/linux.rs",
            "// SAFETY: f has no preconditions\nunsafe { f() }\n",
        ),
        Source::new("sfu/core/src/lib.rs", "#![forbid(unsafe_code)]\n"),
    ];
    assert_eq!(rules::unsafe_code(&sources).len(), 2);
}

#[test]
fn the_engine_reads_no_clock_and_opens_no_socket() {
    assert_none(&rules::engine_purity(&sources()));
}

#[test]
fn a_clock_in_the_engine_is_refused_outside_its_tests() {
    let sources = [
        Source::new("sfu/core/src/lib.rs", "#![forbid(unsafe_code)]\n// Instant::now is banned\n"),
        Source::new(
            "sfu/rtp/src/lib.rs",
            "#![forbid(unsafe_code)]\n#[cfg(test)]\nmod t { Instant::now() }\n",
        ),
        Source::new("sfu/core/src/a.rs", "let now = Instant::now();\n"),
    ];
    assert_eq!(rules::engine_purity(&sources), ["sfu/core/src/a.rs:1: Instant::now in the engine"]);
}

#[test]
fn the_top_level_is_fixed() {
    assert_none(&rules::top_level(&sources()));
}

#[test]
fn a_new_top_level_entry_is_refused() {
    let sources = [
        Source::new("docs/a.md", ""),
        Source::new(".ci/run", ""),
        Source::new("sfu/src/lib.rs", ""),
    ];
    assert_eq!(rules::top_level(&sources).len(), 1);
}

#[test]
fn every_crate_inherits_the_lints() {
    assert_none(&rules::inherited_lints(&sources()));
}

#[test]
fn a_crate_without_the_lints_is_refused() {
    assert_eq!(rules::inherited_lints(&[Source::new("sfu/Cargo.toml", "[package]\n")]).len(), 1);
}

#[test]
fn links_lead_somewhere() {
    assert_none(&rules::links(&sources(), &top()));
}

#[test]
fn a_dead_link_is_refused() {
    let page = Source::new(
        "sfu/README.md",
        "# Some Title\n[a](../Cargo.toml) [b](gone.md) [c](#some-title) [d](#other) [e](https://a.b/)\n```\n[f](gone)\n```\n",
    );
    let breaches = rules::links(&[page], &top());
    assert_eq!(breaches.len(), 2, "{breaches:?}");
}

#[test]
fn styles_keep_to_the_scale() {
    assert_none(&styles::sizes(&sources()));
}

#[test]
fn a_size_beside_the_scale_is_refused() {
    let page = Source::new(
        "web-demo/a.css",
        ":root {\n  --space-1: 0.25rem;\n  font-size: 16px;\n}\n\n/* padding: 7px; */\n.a {\n  padding: 1px var(--space-1) 0;\n  width: 160px;\n  margin: 0 auto;\n}\n\n\
         @media (max-width: 720px) {\n  .b {\n    margin-top: calc(var(--space-1) + 7px);\n  }\n}\n\n.c { font: 0.8rem serif; }\n.d {\n  transition: opacity .2s;\n  gap: var(--space-9);\n  border-radius: 50%\n}\n",
    );
    let breaches = styles::sizes(&[page]);
    let expected = [
        "web-demo/a.css:15: margin-top has the size 7px beside the scale of style.css",
        "web-demo/a.css:19: font has the size 0.8rem beside the scale of style.css",
        "web-demo/a.css:21: transition has the size .2s beside the scale of style.css",
        "web-demo/a.css:22: no stylesheet has --space-9",
    ];
    assert_eq!(breaches, expected);
}
