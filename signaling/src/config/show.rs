//! `switchyard config`: every setting as it holds, and where it comes from. Secrets are hidden.

use super::{Config, ConfigError, RawConfig, Tls, file};
use crate::auth::Key;
use clap::ArgMatches;
use clap::parser::ValueSource;
use std::fmt::{Display, Write as _};

/// One page in the form of the file, with the source of each line as its comment.
///
/// # Errors
/// [`ConfigError`], the same as at the start of the server.
pub fn show(raw: RawConfig, matches: &ArgMatches) -> Result<String, ConfigError> {
    let file = raw.config.clone().map(file::read).transpose()?.unwrap_or_default();
    let path = raw.config.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let config = Config::merge(raw, file.clone())?;
    let mut page = String::new();
    let mut line = |name: &str, value: String, in_file: bool| {
        let flag = name.replace('_', "-");
        let source = match matches.value_source(name) {
            Some(ValueSource::CommandLine) => format!("--{flag}"),
            Some(ValueSource::EnvVariable) => format!("SWITCHYARD_{}", name.to_uppercase()),
            _ if in_file => path.clone(),
            _ => "default".to_owned(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(page, "{:<48} # {source}", format!("{name} = {value}"));
    };
    line("listen", quoted(config.listen), file.listen.is_some());
    line("media_ip", list(&config.media_ips), !file.media_ip.is_empty());
    line("media_port", config.media_port.to_string(), file.media_port.is_some());
    let workers = config.workers.map_or("\"auto\"".to_owned(), |workers| workers.to_string());
    line("workers", workers, file.workers.is_some());
    match &config.tls {
        None => line("tls", "\"off\"".to_owned(), false),
        Some(Tls::SelfSigned) => line("tls", "\"self-signed\"".to_owned(), file.tls.is_some()),
        Some(Tls::Files { certificate, key }) => {
            line("tls_cert", quoted(certificate.display()), file.tls_cert.is_some());
            line("tls_key", quoted(key.display()), file.tls_key.is_some());
        }
    }
    line("allow_origin", list(&config.allowed_origins), !file.allow_origin.is_empty());
    let admin = config.admin_listen.map_or("\"off\"".to_owned(), quoted);
    line("admin_listen", admin, file.admin_listen.is_some());
    line("max_load", config.max_load.to_string(), file.max_load.is_some());
    let sockets = config.sockets_per_address.to_string();
    line("sockets_per_address", sockets, file.sockets_per_address.is_some());
    line("drain", config.drain.as_secs().to_string(), file.drain.is_some());
    tables(&mut page, &config);
    Ok(page)
}

/// What only the file can say.
fn tables(page: &mut String, config: &Config) {
    for configured in &config.ice_servers {
        let server = &configured.server;
        let _ = writeln!(page, "\n[[ice_servers]]\nurls = {}", list(&server.urls));
        if let Some(username) = &server.username {
            let _ = writeln!(page, "username = {}\ncredential = \"…\"", quoted(username));
        }
        if configured.secret.is_some() {
            let _ = writeln!(page, "secret = \"…\"");
        }
    }
    if let Some(webhook) = &config.webhook {
        let (urls, key) = (list(&webhook.urls), quoted(&webhook.key));
        let allow_private = webhook.allow_private;
        let _ = writeln!(
            page,
            "\n[webhook]\nurls = {urls}\nkey = {key}\nallow_private = {allow_private}"
        );
    }
    if !config.keys.is_empty() {
        page.push_str("\n[keys]\n");
    }
    for (id, key) in config.keys.iter() {
        let value = match key {
            Key::Secret(_) => "\"…\"",
            Key::Ed25519(_) => "{ public_key = \"…\" }",
        };
        let _ = writeln!(page, "{:<48} # {}", format!("{id} = {value}"), key.algorithm());
    }
}

fn quoted(value: impl Display) -> String {
    format!("{:?}", value.to_string())
}

fn list(values: &[impl Display]) -> String {
    let values: Vec<String> = values.iter().map(quoted).collect();
    format!("[{}]", values.join(", "))
}
