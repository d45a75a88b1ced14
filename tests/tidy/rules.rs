//! The rules: each takes the project's files and returns one sentence per breach.

use std::path::Path;

use serde_json::Value;

use crate::tree::Source;

/// What each crate may depend on among our own; `tests` and `benches` see all and nothing sees them.
const EDGES: [(&str, &[&str]); 5] = [
    ("sfu-rtp", &[]),
    ("sfu-core", &["sfu-rtp"]),
    ("sfu", &["sfu-core"]),
    ("signaling-sdp", &["sfu"]),
    ("signaling", &["sfu", "signaling-sdp"]),
];

/// Crates that would bring I/O, wire formats of control, or logging into the media engine.
const ENGINE_BANNED_CRATES: [&str; 9] =
    ["tokio", "serde", "serde_json", "tracing", "log", "socket2", "libc", "parking_lot", "axum"];

const LINES_MAX: usize = 500;

const TOP_LEVEL: [&str; 10] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "benches",
    "sfu",
    "signaling",
    "tests",
    "web-demo",
];

/// Spelled in halves, so that this file keeps its own rule.
const BANNED_WORDS: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("to", "do!"),
    concat!("db", "g!"),
    concat!("unimple", "mented!"),
];

const REGISTRY_HOSTS: [&str; 8] = [
    concat!("crates", ".io"),
    concat!("npmjs", ".org"),
    concat!("npmjs", ".com"),
    concat!("pypi", ".org"),
    concat!("python", "hosted.org"),
    concat!("proxy.gol", "ang.org"),
    concat!("deb.deb", "ian.org"),
    concat!("maven.apa", "che.org"),
];

const ENGINE_BANNED_CODE: [&str; 16] = [
    "Instant::now",
    "SystemTime::now",
    ".elapsed()",
    "tokio::",
    "std::thread",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "std::fs",
    "Mutex",
    "RwLock",
    "Condvar",
    "std::sync::atomic",
    "std::sync::mpsc",
    "rand::rng(",
    "rand::random",
];

/// Only `signaling -> signaling-sdp -> sfu -> sfu-core -> sfu-rtp`, dev-dependencies included.
pub(crate) fn crate_edges(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let ours: Vec<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let mut breaches = Vec::new();
    for (name, _) in EDGES {
        if !ours.contains(&name) {
            breaches.push(format!("the workspace has no crate {name}"));
        }
    }
    for package in &packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = EDGES.iter().find(|(crate_name, _)| *crate_name == name) else {
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let target = dependency["name"].as_str().unwrap_or_default();
            if ours.contains(&target) && !allowed.contains(&target) {
                breaches.push(format!("{name} must not depend on {target}"));
            }
            if name.starts_with("sfu-")
                && ENGINE_BANNED_CRATES.contains(&target)
                && dependency["kind"].is_null()
            {
                breaches.push(format!(
                    "{name} must not depend on {target}: the engine has no I/O, serde or logging"
                ));
            }
        }
    }
    breaches
}

/// A source file holds one noun: 500 lines before its tests at most.
pub(crate) fn file_sizes(sources: &[Source]) -> Vec<String> {
    sources
        .iter()
        .filter(|source| source.has_extension(&["rs", "js", "mjs", "py"]))
        .filter_map(|source| {
            let lines = source.production_lines().count();
            (lines > LINES_MAX).then(|| {
                format!("{}: {lines} lines before its tests; at most {LINES_MAX}", source.path)
            })
        })
        .collect()
}

/// Unfinished work is an issue, not a word in a file.
pub(crate) fn banned_words(sources: &[Source]) -> Vec<String> {
    find_words(sources, &BANNED_WORDS, |source| {
        source.has_extension(&["rs", "js", "mjs", "py", "toml", "sh", "html", "css", "md"])
    })
}

/// Packages come by name through the ordinary clients; `Cargo.lock` is cargo's own.
pub(crate) fn registry_hosts(sources: &[Source]) -> Vec<String> {
    find_words(sources, &REGISTRY_HOSTS, |source| source.path != "Cargo.lock")
}

/// `unsafe` lives in the socket module, each block with the reason why it holds.
pub(crate) fn unsafe_code(sources: &[Source]) -> Vec<String> {
    let mut breaches = Vec::new();
    for source in sources.iter().filter(|s| s.has_extension(&["rs"]) && is_production(s)) {
        let lines: Vec<&str> = source.text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if !contains_word(code, "unsafe") {
                continue;
            }
            let place = format!("{}:{}", source.path, index + 1);
            if !source.path.starts_with("sfu/src/socket") {
                breaches.push(format!("{place}: unsafe outside sfu/src/socket/"));
            } else if !lines[index.saturating_sub(8)..=index]
                .iter()
                .any(|l| l.to_lowercase().contains("safety"))
            {
                breaches.push(format!("{place}: unsafe without a SAFETY comment just above"));
            }
        }
    }
    breaches
}

/// The engine reads no clock, opens no socket, starts no thread, shares nothing.
pub(crate) fn engine_purity(sources: &[Source]) -> Vec<String> {
    let mut breaches = Vec::new();
    for source in sources.iter().filter(|s| is_engine(s)) {
        for (number, line) in source.production_lines() {
            let code = line.split("//").next().unwrap_or_default();
            for banned in ENGINE_BANNED_CODE.iter().filter(|banned| code.contains(**banned)) {
                breaches.push(format!("{}:{number}: {banned} in the engine", source.path));
            }
        }
    }
    for root in ["sfu/core/src/lib.rs", "sfu/rtp/src/lib.rs"] {
        let forbids =
            sources.iter().any(|s| s.path == root && s.text.contains("#![forbid(unsafe_code)]"));
        if !forbids {
            breaches.push(format!("{root} does not forbid unsafe code"));
        }
    }
    breaches
}

/// The top level is fixed; tool files are dot files.
pub(crate) fn top_level(sources: &[Source]) -> Vec<String> {
    let mut unexpected: Vec<&str> = sources
        .iter()
        .filter_map(|source| source.path.split('/').next())
        .filter(|entry| !entry.starts_with('.') && !TOP_LEVEL.contains(entry))
        .collect();
    unexpected.dedup();
    unexpected.iter().map(|entry| format!("{entry}: not one of the top-level entries")).collect()
}

/// Every crate inherits the workspace's lints.
pub(crate) fn inherited_lints(sources: &[Source]) -> Vec<String> {
    sources
        .iter()
        .filter(|s| s.path.ends_with("/Cargo.toml"))
        .filter(|s| !s.text.contains("[lints]\nworkspace = true"))
        .map(|s| format!("{}: does not inherit the workspace's lints", s.path))
        .collect()
}

/// Every relative link of every page leads to a file, and its fragment to a heading.
pub(crate) fn links(sources: &[Source], top: &Path) -> Vec<String> {
    let mut breaches = Vec::new();
    for page in sources.iter().filter(|s| s.has_extension(&["md"])) {
        let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for link in markdown_links(&page.text) {
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                page.path.clone()
            } else {
                normalise(&format!("{folder}/{file}"))
            };
            if !file.is_empty() && !top.join(&target).exists() {
                breaches.push(format!("{}: link to {link}, which does not exist", page.path));
            } else if !fragment.is_empty()
                && !sources.iter().any(|s| s.path == target && has_heading(&s.text, fragment))
            {
                breaches.push(format!("{}: link to {link}, which has no such heading", page.path));
            }
        }
    }
    breaches
}

fn is_engine(source: &Source) -> bool {
    (source.path.starts_with("sfu/core/src/") || source.path.starts_with("sfu/rtp/src/"))
        && source.has_extension(&["rs"])
}

fn is_production(source: &Source) -> bool {
    source.path.starts_with("sfu/") || source.path.starts_with("signaling/")
}

fn find_words(
    sources: &[Source],
    words: &[&str],
    applies: impl Fn(&Source) -> bool,
) -> Vec<String> {
    let mut breaches = Vec::new();
    for source in sources.iter().filter(|source| applies(source)) {
        for (index, line) in source.text.lines().enumerate() {
            for word in words.iter().filter(|word| contains_word(line, word)) {
                breaches.push(format!("{}:{}: {word}", source.path, index + 1));
            }
        }
    }
    breaches
}

/// Whether `word` stands in `line` without a letter, digit or `_` on either side.
fn contains_word(line: &str, word: &str) -> bool {
    let is_word_char = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        !before.is_some_and(is_word_char) && !after.is_some_and(is_word_char)
    })
}

/// The targets of `](target)` outside code, without those that name a scheme.
fn markdown_links(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for (start, _) in line.match_indices("](") {
            let rest = &line[start + 2..];
            let target = rest.split([')', ' ']).next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                found.push(target);
            }
        }
    }
    found
}

/// Whether a heading of `text` has the anchor that code hosts give it.
fn has_heading(text: &str, fragment: &str) -> bool {
    text.lines().filter(|line| line.starts_with('#')).any(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let anchor: String = title
            .chars()
            .filter_map(|c| match c {
                ' ' => Some('-'),
                c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
                _ => None,
            })
            .collect();
        anchor == fragment
    })
}

fn normalise(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
