//! The configuration folder of a Janus that can do one thing, VideoRoom over WebSocket, and does nothing besides.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// Where packages and `make install` put the modules; `*` stands for one folder.
const MODULES: [&str; 4] =
    ["/usr/lib/*/janus", "/usr/lib/janus", "/usr/local/lib/janus", "/opt/janus/lib/janus"];

/// What differs from one Janus to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Threads for the media of all peer connections; `None`: Janus's default, a thread for each.
    pub(super) event_loops: Option<u16>,
    /// Where the WebSocket listens.
    pub(super) api: SocketAddr,
    /// The one address for media; libnice leaves out loopback.
    pub(super) media: IpAddr,
}

/// A temporary folder; removed when dropped.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Writes the configuration and links the two modules, so that Janus loads no others.
    pub(super) fn write(settings: &Settings) -> anyhow::Result<Self> {
        let name = format!("switchyard-bench-janus-{}-{}", std::process::id(), settings.api.port());
        let folder = Self(std::env::temp_dir().join(name));
        let modules = find_modules()?;
        for empty in ["events", "loggers"] {
            std::fs::create_dir_all(folder.0.join(empty))?;
        }
        for module in ["plugins/libjanus_videoroom.so", "transports/libjanus_websockets.so"] {
            let link = folder.0.join(module);
            std::fs::create_dir_all(link.parent().context("a module without a folder")?)?;
            symlink(modules.join(module), link)?;
        }
        for (file, text) in [
            ("janus.jcfg", core(&folder.0, settings)),
            ("janus.transport.websockets.jcfg", websockets(settings.api)),
            ("janus.plugin.videoroom.jcfg", "general: { string_ids = true }\n".to_owned()),
        ] {
            std::fs::write(folder.0.join(file), text)?;
        }
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// `text`, and the last complaints of Janus if it logged any.
    pub(super) fn with_complaints(&self, text: &str) -> String {
        const LINES: usize = 8;
        let log = std::fs::read_to_string(self.0.join("janus.log")).unwrap_or_default();
        // The rest is the banner.
        let complaints: Vec<&str> = log
            .lines()
            .filter(|line| line.starts_with("[ERR]") || line.starts_with("[FATAL]"))
            .collect();
        if complaints.is_empty() {
            return text.to_owned();
        }
        let last = &complaints[complaints.len().saturating_sub(LINES)..];
        format!("{text}; it logged:\n{}", last.join("\n"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `debug_level` 2: errors.
fn core(folder: &Path, settings: &Settings) -> String {
    let folder = folder.display();
    let mut text = format!(
        "general: {{\n  configs_folder = \"{folder}\"\n  plugins_folder = \"{folder}/plugins\"\n  \
         transports_folder = \"{folder}/transports\"\n  events_folder = \"{folder}/events\"\n  \
         loggers_folder = \"{folder}/loggers\"\n  log_to_stdout = false\n  log_to_file = \"{folder}/janus.log\"\n  \
         debug_level = 2\n  debug_colors = false\n"
    );
    if let Some(event_loops) = settings.event_loops {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  event_loops = {event_loops}");
    }
    let ipv6 = settings.media.is_ipv6();
    let _ = write!(
        text,
        "}}\nmedia: {{ ipv6 = {ipv6} }}\n\
         nat: {{ nice_debug = false\n  ice_enforce_list = \"{}\" }}\n",
        settings.media
    );
    text
}

fn websockets(api: SocketAddr) -> String {
    format!(
        "general: {{ json = \"plain\"\n  ws = true\n  ws_ip = \"{}\"\n  ws_port = {}\n  wss = false }}\n\
         admin: {{ admin_ws = false }}\n",
        api.ip(),
        api.port()
    )
}

fn find_modules() -> anyhow::Result<PathBuf> {
    for pattern in MODULES {
        for folder in expand(pattern) {
            if folder.join("plugins/libjanus_videoroom.so").exists() {
                return Ok(folder);
            }
        }
    }
    bail!("no libjanus_videoroom.so in {}: is Janus installed?", MODULES.join(", "))
}

/// The folders that a pattern with at most one `*` stands for.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once("/*/") else {
        return vec![PathBuf::from(pattern)];
    };
    let Ok(entries) = std::fs::read_dir(before) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path().join(after)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_default_of_janus_stays_unsaid() {
        let mut settings = Settings {
            event_loops: Some(1),
            api: SocketAddr::from(([127, 0, 0, 1], 4000)),
            media: IpAddr::from([10, 99, 0, 1]),
        };
        let text = core(Path::new("/tmp/j"), &settings);
        assert!(text.contains("  event_loops = 1\n"), "{text}");
        assert!(text.contains("ice_enforce_list = \"10.99.0.1\""), "{text}");
        assert!(text.contains("plugins_folder = \"/tmp/j/plugins\""), "{text}");
        settings.event_loops = None;
        assert!(!core(Path::new("/tmp/j"), &settings).contains("event_loops"));
        let text = websockets(settings.api);
        assert!(text.contains("ws_ip = \"127.0.0.1\"\n  ws_port = 4000\n"), "{text}");
    }

    #[test]
    fn complaints_are_shown_where_there_are_any() {
        let folder = Folder(std::env::temp_dir().join(format!("janus-log-{}", std::process::id())));
        assert_eq!(folder.with_complaints("gone"), "gone");
        std::fs::create_dir_all(folder.path()).unwrap();
        let log = "-----\n[ERR] [janus.c:main:1] bad\nReading\n[FATAL] worse\n";
        std::fs::write(folder.path().join("janus.log"), log).unwrap();
        let text = folder.with_complaints("gone");
        assert_eq!(text, "gone; it logged:\n[ERR] [janus.c:main:1] bad\n[FATAL] worse");
    }

    #[test]
    fn a_star_stands_for_any_folder() {
        assert_eq!(expand("/usr/lib/janus"), [PathBuf::from("/usr/lib/janus")]);
        assert!(expand("/proc/*/status").contains(&PathBuf::from("/proc/self/status")));
        assert!(expand("/no such folder/*/janus").is_empty());
    }
}
