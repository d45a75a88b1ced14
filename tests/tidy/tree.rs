//! The project's files as the rules see them: path from the top, text, and where the tests begin.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold nothing of ours: build output, installed packages, screenshots, git itself.
const SKIPPED: [&str; 4] = ["target", "node_modules", ".git", ".out"];

/// One text file of the project.
pub(crate) struct Source {
    /// Path from the top, with `/` on every system.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    pub(crate) fn has_extension(&self, extensions: &[&str]) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        extensions.iter().any(|e| name.rsplit_once('.').is_some_and(|(_, found)| found == *e))
    }

    /// The lines before the first `#[cfg(test)]`, numbered from 1; none of a crate's `tests.rs`.
    pub(crate) fn production_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let text = if self.path.ends_with("/tests.rs") { "" } else { &self.text };
        text.lines()
            .take_while(|line| line.trim() != "#[cfg(test)]")
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }
}

pub(crate) fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests crate is one level below the top")
        .to_path_buf()
}

/// Every text file below the top; files that are not UTF-8 are left out.
pub(crate) fn sources() -> Vec<Source> {
    let top = top();
    let mut found = Vec::new();
    let mut folders = vec![top.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the project is readable").flatten() {
            let path = entry.path();
            let name = entry.file_name();
            // A link to a folder is not followed: it could lead out of the project.
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && !SKIPPED.iter().any(|skipped| name == *skipped) {
                folders.push(path);
            } else if kind.is_file()
                && let Ok(text) = fs::read_to_string(&path)
            {
                let path = path.strip_prefix(&top).expect("found below the top");
                found.push(Source { path: path.to_string_lossy().replace('\\', "/"), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 20, "the project's files were not found");
    found
}
