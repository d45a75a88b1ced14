//! The command line.

use crate::auth::{Secret, TokenRequest};
use crate::config::RawConfig;
use clap::{Args, Parser, Subcommand};
use std::time::Duration;

/// A selective forwarding unit for WebRTC: meetings in the browser, WHIP and WHEP. Without a command it serves.
#[derive(Debug, Parser)]
#[command(name = "switchyard", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<CliCommand>,
    /// Flags of `serve`, which is the default.
    #[command(flatten)]
    pub serve: RawConfig,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum CliCommand {
    /// Run the server (the default)
    Serve(RawConfig),
    /// Print a join token
    Token(TokenArgs),
}

/// Flags of `token`.
#[derive(Clone, Debug, Args)]
pub struct TokenArgs {
    /// Key id from [keys]
    #[arg(long)]
    pub key: String,
    /// Its secret
    #[arg(long, env = "SWITCHYARD_SECRET", hide_env_values = true)]
    pub secret: String,
    /// Room that the token opens
    #[arg(long)]
    pub room: String,
    /// Tells participants apart
    #[arg(long)]
    pub identity: String,
    /// Name that others see
    #[arg(long)]
    pub name: Option<String>,
    /// How long the token is valid: seconds, or a number with s, m, h or d
    #[arg(long, default_value = "6h", value_parser = parse_duration)]
    pub ttl: Duration,
}

impl From<TokenArgs> for TokenRequest {
    fn from(args: TokenArgs) -> Self {
        Self {
            key: args.key,
            secret: Secret::new(args.secret),
            room: args.room,
            identity: args.identity,
            name: args.name,
            ttl: args.ttl,
        }
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
        Some(number) => (number, &text[number.len()..]),
        None => (text, "s"),
    };
    let factor = match unit {
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => 1,
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    seconds
        .filter(|s| *s > 0)
        .map(Duration::from_secs)
        .ok_or("expected 90, 90s, 15m, 6h or 7d".into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_is_the_default() {
        let cli = Cli::try_parse_from(["switchyard", "--listen", "127.0.0.1:1"]).unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.serve.listen, "127.0.0.1:1".parse().ok());
        let cli =
            Cli::try_parse_from(["switchyard", "serve", "--media-ip", "192.0.2.1,2001:db8::1"]);
        let Some(CliCommand::Serve(raw)) = cli.unwrap().command else { panic!("serve expected") };
        assert_eq!(raw.media_ip.len(), 2);
        let spread = |when| Cli::try_parse_from(["switchyard", "--spread", when]);
        assert_eq!(spread("always").unwrap().serve.spread, Some(crate::config::Spread::Always));
        assert!(spread("sometimes").is_err());
    }

    #[test]
    fn durations() {
        for (text, seconds) in
            [("90", 90), ("90s", 90), ("15m", 900), ("6h", 21_600), ("7d", 604_800)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)));
        }
        for text in
            ["", "h", "0", "-1", "1w", "6 h", "99999999999999999999d", "9999999999999999999d"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
