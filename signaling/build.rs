//! Lists the web demo's files so that the binary carries them, as they are and compressed.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

const SERVED: [(&str, &str); 4] = [
    ("html", "text/html; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("svg", "image/svg+xml"),
];

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?)
        .join("../web-demo")
        .canonicalize()?;
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    let mut list = String::from("&[\n");
    for file in files {
        let extension = file.extension().and_then(|extension| extension.to_str());
        let Some((_, mime)) = SERVED.iter().find(|(served, _)| Some(*served) == extension) else {
            continue;
        };
        let name = file.strip_prefix(&root).map_err(io::Error::other)?;
        let packed = out.join(format!("{}.gz", list.len()));
        fs::write(&packed, compress(&fs::read(&file)?)?)?;
        writeln!(list, "({name:?}, {mime:?}, include_bytes!({file:?}), include_bytes!({packed:?})),")
            .map_err(io::Error::other)?;
    }
    list.push(']');
    fs::write(out.join("web_demo.rs"), list)
}

/// Browsers ask for Brotli over https only.
fn compress(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    encoder.finish()
}

/// All files below a folder; folders of tools and hidden ones are not looked into.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let hidden = name.to_string_lossy().starts_with('.') || name == "node_modules";
        if hidden {
            continue;
        }
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            println!("cargo::rerun-if-changed={}", entry.path().display());
            files.push(entry.path());
        }
    }
    Ok(())
}
