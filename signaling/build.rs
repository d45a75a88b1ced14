//! Lists the web demo's files so that the binary carries them, plain and compressed. Pages name all modules that they will need, so that a browser
//! asks for them at once instead of finding each one in another.

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
        let mut content = fs::read(&file)?;
        if extension == Some("html") {
            let text = String::from_utf8(content).map_err(io::Error::other)?;
            content = name_modules(&root, &text)?.into_bytes();
        }
        let plain = out.join(list.len().to_string());
        let packed = plain.with_extension("gz");
        fs::write(&packed, compress(&content)?)?;
        fs::write(&plain, content)?;
        writeln!(
            list,
            "({name:?}, {mime:?}, include_bytes!({plain:?}), include_bytes!({packed:?})),"
        )
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

/// A page with a link to each module that its script imports, directly or not.
fn name_modules(root: &Path, page: &str) -> io::Result<String> {
    let Some((before, after)) = page.split_once("<script type=\"module\" src=\"") else {
        return Ok(page.to_owned());
    };
    let entry = after.split('"').next().unwrap_or_default();
    let mut modules = vec![PathBuf::from(entry)];
    let mut at = 0;
    while let Some(module) = modules.get(at).cloned() {
        let folder = module.parent().unwrap_or(Path::new(""));
        for import in imports(&fs::read_to_string(root.join(&module))?) {
            let imported = resolve(folder, import);
            if !modules.contains(&imported) {
                modules.push(imported);
            }
        }
        at += 1;
    }
    let links: String = modules
        .iter()
        .skip(1)
        .map(|module| format!("<link rel=\"modulepreload\" href=\"{}\">\n  ", module.display()))
        .collect();
    Ok(format!("{before}{links}<script type=\"module\" src=\"{after}"))
}

/// Relative addresses in `from '…'` and `import '…'`; types are imported otherwise.
fn imports(script: &str) -> impl Iterator<Item = &str> {
    let found = ["from '", "import '"].into_iter().flat_map(|before| script.split(before).skip(1));
    found.filter_map(|rest| rest.split('\'').next()).filter(|address| address.starts_with('.'))
}

fn resolve(folder: &Path, address: &str) -> PathBuf {
    let mut path = folder.to_path_buf();
    for part in address.split('/') {
        match part {
            "." => {}
            ".." => {
                path.pop();
            }
            name => path.push(name),
        }
    }
    path
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
