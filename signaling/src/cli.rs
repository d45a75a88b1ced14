//! The command line.

use crate::auth::{Secret, TokenRequest};
use crate::config::RawConfig;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
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
    /// Publish files to a WHIP server
    #[command(after_help = PUBLISH_HELP)]
    Publish(PublishArgs),
    /// Record what a WHEP server shows
    #[command(after_help = PLAY_HELP)]
    Play(PlayArgs),
}

const PUBLISH_HELP: &str = "\
Files: .ivf (VP8, VP9, AV1), .h264 (Annex B), .ogg (Opus), .mkv and .webm (both); at most one video and one audio track.
They are sent as they are, at the pace of their own times; nothing is encoded. A viewer's picture begins at the file's next
keyframe, since a file cannot make one when it is asked: encode with one every two seconds, and without B-frames. Of H.264,
every browser plays only -profile:v baseline.

Examples:
  ffmpeg -i in.mp4 -c:v libvpx -b:v 1M -g 60 -c:a libopus -ac 2 out.webm
  switchyard publish out.webm
  switchyard publish picture.ivf sound.ogg --loop --url 'http://127.0.0.1:8080/whip/stage?identity=cam'
  switchyard publish out.mkv --url https://sfu.example:8443/whip/stage --token \"$TOKEN\"";

const PLAY_HELP: &str = "\
The extension of FILE says what is asked for and written: .mkv every format, .webm all but H.264, .ivf VP8, VP9 or AV1,
.h264 and .ogg one of them. It records until Ctrl-C, --duration or the server's end, and waits while nothing is live.

Examples:
  switchyard play http://127.0.0.1:8080/whep/stage -o stage.mkv
  switchyard play 'http://127.0.0.1:8080/whep/stage?participant=cam' -o cam.ivf --duration 10s";

/// Flags of `publish`.
#[derive(Clone, Debug, Args)]
pub struct PublishArgs {
    /// What to send: one file, or one with video and one with audio
    #[arg(required = true, num_args = 1..=2, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Where to: a WHIP address
    #[arg(long, default_value = "http://127.0.0.1:8080/whip/stage")]
    pub url: String,
    /// Bearer token
    #[arg(long, env = "SWITCHYARD_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Begin again at the end, until Ctrl-C
    #[arg(long = "loop")]
    pub repeat: bool,
    /// Frames per second of an .h264 file [default: what the file says, else 25]
    #[arg(long, value_parser = parse_fps)]
    pub fps: Option<f64>,
    /// Take any certificate of the server
    #[arg(long)]
    pub insecure: bool,
}

/// Flags of `play`.
#[derive(Clone, Debug, Args)]
pub struct PlayArgs {
    /// A WHEP address
    pub url: String,
    /// What to write; an existing file is replaced
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// How long to record, from the first frame on: seconds, or a number with s, m, h or d
    #[arg(long, value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Bearer token
    #[arg(long, env = "SWITCHYARD_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Take any certificate of the server
    #[arg(long)]
    pub insecure: bool,
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

fn parse_fps(text: &str) -> Result<f64, String> {
    let fps = text.parse().ok().filter(|fps| (0.1..=1000.0).contains(fps));
    fps.ok_or("expected a number such as 30 or 29.97".into())
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
