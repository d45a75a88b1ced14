//! Lists the web demo's files so that the binary carries them, plain and compressed. A page's modules are put together in one file, and so are its
//! stylesheets, as a browser takes longer to ask for fifty than to run them; each is there by itself as well, for applications and for what is loaded later.

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
        let content = fs::read(&file)?;
        if extension == Some("html") {
            let page = String::from_utf8(content).map_err(io::Error::other)?;
            let (page, script, bundle) = bundle_page(&root, &page)?;
            add(&mut list, &out, &script, "text/javascript; charset=utf-8", bundle.as_bytes())?;
            let sheet = script.replace(".js", ".css");
            let (page, styles) = join_styles(&root, &page, &sheet)?;
            add(&mut list, &out, &sheet, "text/css; charset=utf-8", styles.as_bytes())?;
            add(&mut list, &out, &name.display().to_string(), mime, page.as_bytes())?;
        } else {
            add(&mut list, &out, &name.display().to_string(), mime, &content)?;
        }
    }
    list.push(']');
    fs::write(out.join("web_demo.rs"), list)
}

/// One file for the list, plain and compressed.
fn add(list: &mut String, out: &Path, name: &str, mime: &str, content: &[u8]) -> io::Result<()> {
    let plain = out.join(list.len().to_string());
    let packed = plain.with_extension("gz");
    fs::write(&packed, compress(content)?)?;
    fs::write(&plain, content)?;
    writeln!(list, "({name:?}, {mime:?}, include_bytes!({plain:?}), include_bytes!({packed:?})),")
        .map_err(io::Error::other)
}

/// Browsers ask for Brotli over https only.
fn compress(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    encoder.finish()
}

/// A page that loads one script instead of its modules, the name of that script, and the script.
fn bundle_page(root: &Path, page: &str) -> io::Result<(String, String, String)> {
    let start = "<script type=\"module\" src=\"";
    let (before, after) =
        page.split_once(start).ok_or_else(|| io::Error::other("a page without a module"))?;
    let (entry, after) = after.split_once('"').unwrap_or_default();
    let mut modules = Vec::new();
    collect_modules(root, Path::new(entry), &mut Vec::new(), &mut modules)?;
    let mut bundle = String::new();
    for (at, module) in modules.iter().enumerate() {
        let text = fs::read_to_string(root.join(module))?;
        let body = as_function(module, &text, &modules).map_err(io::Error::other)?;
        write!(
            bundle,
            "// {}\nconst m{at} = await (async () => {{\n{body}}})();\n",
            module.display()
        )
        .map_err(io::Error::other)?;
    }
    let script = entry.replace(".js", ".bundle.js");
    Ok((format!("{before}{start}{script}\"{after}"), script, bundle))
}

/// A page that loads the stylesheet of this name instead of its own, and that stylesheet: theirs, in their order.
fn join_styles(root: &Path, page: &str, sheet: &str) -> io::Result<(String, String)> {
    let (mut joined, mut styles) = (String::new(), String::new());
    for line in page.split_inclusive('\n') {
        let link = line.trim().strip_prefix("<link rel=\"stylesheet\" href=\"");
        let Some(name) = link.and_then(|rest| rest.strip_suffix("\">")) else {
            joined.push_str(line);
            continue;
        };
        if styles.is_empty() {
            joined.push_str(&line.replace(name, sheet));
        }
        styles.push_str(&fs::read_to_string(root.join(name))?);
    }
    // One that was written otherwise would be loaded by itself.
    if styles.is_empty() || joined.matches("rel=\"stylesheet\"").count() != 1 {
        return Err(io::Error::other(format!("build.rs cannot join the styles of {sheet}")));
    }
    Ok((joined, styles))
}

/// A module after all that it imports.
fn collect_modules(
    root: &Path,
    module: &Path,
    importers: &mut Vec<PathBuf>,
    found: &mut Vec<PathBuf>,
) -> io::Result<()> {
    if importers.iter().any(|importer| importer == module) {
        return Err(io::Error::other(format!("{} imports itself", module.display())));
    }
    if found.iter().any(|one| one == module) {
        return Ok(());
    }
    importers.push(module.to_path_buf());
    for address in imports(&fs::read_to_string(root.join(module))?) {
        collect_modules(root, &resolve(module, address), importers, found)?;
    }
    importers.pop();
    found.push(module.to_path_buf());
    Ok(())
}

/// The body of a function that does what the module does and returns what it exports. Knows the forms that the web demo has, and refuses others.
fn as_function(module: &Path, text: &str, modules: &[PathBuf]) -> Result<String, String> {
    let mut body = String::new();
    let mut exports = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let unknown =
            || format!("{}:{}: build.rs cannot bundle this", module.display(), number + 1);
        let elsewhere = || {
            let imported = resolve(module, imports(line).next()?);
            modules.iter().position(|one| *one == imported)
        };
        let names = || line.split_once('{')?.1.split_once('}').map(|(names, _)| names);
        // Relative to the module, it would be taken as relative to the page's script.
        let moves = line.contains("import.meta") || line.contains("await import(");
        if moves && module.components().count() > 1 {
            return Err(unknown());
        }
        if line.starts_with("import '") || line == "export {};" {
            continue;
        } else if line.starts_with("import ") {
            let (names, at) = names().zip(elsewhere()).ok_or_else(unknown)?;
            body.push_str(&format!("const {{{}}} = m{at};\n", names.replace(" as ", ": ")));
        } else if line.starts_with("export {") {
            let (names, at) = names().zip(elsewhere()).ok_or_else(unknown)?;
            exports.extend(names.split(',').map(|name| format!("{0}: m{at}.{0}", name.trim())));
        } else if let Some(declaration) = line.strip_prefix("export ") {
            let known = ["class ", "function ", "async function ", "const "];
            let rest = known.iter().find_map(|kind| declaration.strip_prefix(kind));
            let end = |c: char| !(c.is_alphanumeric() || c == '_' || c == '$');
            exports
                .push(rest.and_then(|rest| rest.split(end).next()).ok_or_else(unknown)?.to_owned());
            body.push_str(&format!("{declaration}\n"));
        } else {
            body.push_str(&format!("{line}\n"));
        }
    }
    Ok(format!("{body}return {{ {} }};\n", exports.join(", ")))
}

/// Relative addresses in `from '…'` and `import '…'`; types are imported otherwise.
fn imports(script: &str) -> impl Iterator<Item = &str> {
    let found = ["from '", "import '"].into_iter().flat_map(|before| script.split(before).skip(1));
    found.filter_map(|rest| rest.split('\'').next()).filter(|address| address.starts_with('.'))
}

/// The path of what a module imports.
fn resolve(module: &Path, address: &str) -> PathBuf {
    let mut path = module.parent().unwrap_or(Path::new("")).to_path_buf();
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
