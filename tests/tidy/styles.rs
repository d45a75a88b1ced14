//! The web demo's sizes: a scale of spaces, letters, corners and times stands at the top of style.css, and all else takes its sizes from there.

use crate::tree::Source;

/// Properties whose sizes are those of the scale; also with `-top` and the like.
const SCALED: [&str; 9] = [
    "animation",
    "border-radius",
    "column-gap",
    "font",
    "font-size",
    "gap",
    "margin",
    "padding",
    "transition",
];
const SIDED: [&str; 2] = ["margin-", "padding-"];
const UNITS: [&str; 7] = ["px", "rem", "em", "pt", "ch", "ms", "s"];
/// Lines as thin as the screen can show.
const HAIRLINES: [&str; 2] = ["1px", "2px"];

struct Declaration<'a> {
    line: usize,
    property: &'a str,
    value: &'a str,
    /// Where the scale itself stands.
    in_root: bool,
}

/// Every size is of the scale, and every variable is one.
pub(crate) fn sizes(sources: &[Source]) -> Vec<String> {
    let styles: Vec<&Source> = sources
        .iter()
        .filter(|source| source.path.starts_with("web-demo/") && source.has_extension(&["css"]))
        .collect();
    let texts: Vec<String> = styles.iter().map(|source| without_comments(&source.text)).collect();
    let all: Vec<Vec<Declaration<'_>>> = texts.iter().map(|text| declarations(text)).collect();
    let is_known = |name: &str| {
        all.iter().flatten().any(|one| one.property == name && one.property.starts_with("--"))
    };
    let mut breaches = Vec::new();
    for (source, found) in styles.iter().zip(&all) {
        for Declaration { line, property, value, in_root } in found {
            let place = format!("{}:{line}", source.path);
            if !in_root && is_scaled(property) {
                for size in sizes_of(value).filter(|size| !HAIRLINES.contains(size)) {
                    breaches.push(format!(
                        "{place}: {property} has the size {size} beside the scale of style.css"
                    ));
                }
            }
            for name in variables_of(value).filter(|name| !is_known(name)) {
                breaches.push(format!("{place}: no stylesheet has {name}"));
            }
        }
    }
    breaches
}

fn is_scaled(property: &str) -> bool {
    SCALED.contains(&property) || SIDED.iter().any(|sided| property.starts_with(sided))
}

/// Numbers with a unit of length or time.
fn sizes_of(value: &str) -> impl Iterator<Item = &str> {
    let words = value.split(|c: char| c.is_whitespace() || "(),/*".contains(c));
    words.filter(|word| {
        let unit = word.trim_start_matches(|c: char| c.is_ascii_digit() || "+-.".contains(c));
        unit.len() < word.len() && UNITS.contains(&unit)
    })
}

fn variables_of(value: &str) -> impl Iterator<Item = &str> {
    value.split("var(").skip(1).filter_map(|rest| rest.split([')', ',']).next()).map(str::trim)
}

/// The same lines, without what is between `/*` and `*/`.
fn without_comments(text: &str) -> String {
    let mut parts = text.split("/*");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (comment, rest) = part.split_once("*/").unwrap_or((part, ""));
        kept.extend(comment.matches('\n'));
        kept.push_str(rest);
    }
    kept
}

fn declarations(text: &str) -> Vec<Declaration<'_>> {
    let mut found = Vec::new();
    let mut selectors: Vec<&str> = Vec::new();
    let (mut start, mut line) = (0, 1);
    for (at, sign) in text.match_indices(['{', '}', ';', '\n']) {
        let part = text[start..at].trim();
        match sign {
            "\n" => {
                line += 1;
                continue;
            }
            "{" => selectors.push(part),
            _ => {
                if let Some((property, value)) = part.split_once(':') {
                    let in_root = selectors.last() == Some(&":root");
                    let (property, value) = (property.trim(), value.trim());
                    found.push(Declaration { line, property, value, in_root });
                }
                if sign == "}" {
                    selectors.pop();
                }
            }
        }
        start = at + 1;
    }
    found
}
