//! The command line.

use crate::auth::{Secret, SigningKey, TokenRequest};
use crate::config::RawConfig;
use crate::protocol::Source;
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
    /// Print a token: to join a room, or to manage rooms by the HTTP API
    #[command(after_help = TOKEN_HELP)]
    Token(TokenArgs),
    /// Print every setting of `serve` as it holds, and where it comes from
    Config(RawConfig),
    /// Publish files to a WHIP server
    #[command(after_help = PUBLISH_HELP)]
    Publish(PublishArgs),
    /// Record what a WHEP server shows
    #[command(after_help = PLAY_HELP)]
    Play(PlayArgs),
    /// Take part in a room without sound or picture: say something, print what is said, send a file
    #[command(after_help = BOT_HELP)]
    Bot(BotArgs),
}

const TOKEN_HELP: &str = "\
With --identity the token allows joining --room, and there whatever --can-… and --hidden do not take away.

Examples:
  switchyard token --key mykey --secret \"$SECRET\" --room demo --identity ada --name Ada
  switchyard token --key mykey --secret \"$SECRET\" --room demo --identity fan --can-publish false
  switchyard token --key mykey --secret \"$SECRET\" --room demo --admin --ttl 1h
  switchyard token --key partner --private-key ed25519.pem --room demo --identity ada";

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

const BOT_HELP: &str = "\
What is said in the room goes to standard output, a line each. With --say or --send it leaves when that is done (a file: when
somebody has it whole), else on Ctrl-C or after --duration. The exit code is 0 when all went well, and 1 when the server refused
or nobody took the file; standard error says why.

Examples:
  switchyard bot http://127.0.0.1:8080 --room demo --say 'The build is green.'
  switchyard bot http://127.0.0.1:8080 --room demo --send report.pdf --duration 10m
  switchyard bot https://sfu.example:8443 --room demo --token \"$TOKEN\" --send log.txt --to ada";

/// Flags of `bot`.
#[derive(Clone, Debug, Args)]
pub struct BotArgs {
    /// Address of the server
    pub url: String,
    /// Which room
    #[arg(long)]
    pub room: String,
    /// What the others see
    #[arg(long, default_value = "Bot")]
    pub name: String,
    /// Tells participants apart; the newer of two with one identity replaces the older
    #[arg(long)]
    pub identity: Option<String>,
    /// Token to join the room
    #[arg(long, env = "SWITCHYARD_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// What to say in the chat
    #[arg(long, value_name = "TEXT")]
    pub say: Option<String>,
    /// What to offer and send to those who accept it; up to 256 MiB
    #[arg(long, value_name = "FILE")]
    pub send: Option<PathBuf>,
    /// Only to this one
    #[arg(long, value_name = "IDENTITY")]
    pub to: Option<String>,
    /// How long to stay: seconds, or a number with s, m, h or d
    #[arg(long, value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Take any certificate of the server
    #[arg(long)]
    pub insecure: bool,
}

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
    /// Its secret (HS256)
    #[arg(long, env = "SWITCHYARD_SECRET", hide_env_values = true, value_parser = parse_secret)]
    pub secret: Option<Secret>,
    /// The private key that belongs to its public key, PEM (EdDSA)
    #[arg(long, value_name = "FILE", conflicts_with = "secret")]
    pub private_key: Option<PathBuf>,
    /// Room that the token opens, or is for
    #[arg(long)]
    pub room: Option<String>,
    /// Tells participants apart; allows joining
    #[arg(long)]
    pub identity: Option<String>,
    /// Name that others see
    #[arg(long)]
    pub name: Option<String>,
    /// Text for your application, which others in the room can read
    #[arg(long, default_value = "", hide_default_value = true)]
    pub metadata: String,
    /// The same as a name and a value; may be repeated
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = parse_attribute)]
    pub attributes: Vec<(String, String)>,
    /// May publish tracks [default: true]
    #[arg(long, value_name = "BOOL")]
    pub can_publish: Option<bool>,
    /// May receive tracks [default: true]
    #[arg(long, value_name = "BOOL")]
    pub can_subscribe: Option<bool>,
    /// May send data [default: as --can-publish]
    #[arg(long, value_name = "BOOL")]
    pub can_publish_data: Option<bool>,
    /// May change its own name, metadata and attributes
    #[arg(long)]
    pub can_update_own_metadata: bool,
    /// What may be published: camera, microphone, screen_share, screen_share_audio [default: all]
    #[arg(long, value_name = "SOURCE", value_delimiter = ',', value_parser = parse_source)]
    pub can_publish_sources: Vec<Source>,
    /// Nobody in the room is told of the participant, who cannot publish then
    #[arg(long)]
    pub hidden: bool,
    /// Allows managing the room by the HTTP API, and moderates it where it also joins (video.roomAdmin)
    #[arg(long)]
    pub admin: bool,
    /// Allows creating rooms by the HTTP API (video.roomCreate)
    #[arg(long)]
    pub create: bool,
    /// Allows listing rooms by the HTTP API (video.roomList)
    #[arg(long)]
    pub list: bool,
    /// How long the token is valid: seconds, or a number with s, m, h or d
    #[arg(long, default_value = "6h", value_parser = parse_duration)]
    pub ttl: Duration,
}

impl TokenArgs {
    /// Reads the private key, where there is one.
    ///
    /// # Errors
    /// No key at all, or an unreadable file.
    pub fn request(self) -> Result<TokenRequest, String> {
        let signing = match (self.secret, self.private_key) {
            (Some(secret), _) => SigningKey::Secret(secret),
            (None, Some(path)) => {
                let pem = std::fs::read_to_string(&path);
                let pem =
                    pem.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
                SigningKey::Ed25519(Secret::new(pem))
            }
            (None, None) => return Err("give --secret or --private-key".to_owned()),
        };
        Ok(TokenRequest {
            key: self.key,
            signing,
            room: self.room,
            identity: self.identity,
            name: self.name,
            metadata: self.metadata,
            attributes: self.attributes.into_iter().collect(),
            can_publish: self.can_publish,
            can_subscribe: self.can_subscribe,
            can_publish_data: self.can_publish_data,
            can_update_own_metadata: self.can_update_own_metadata,
            can_publish_sources: self.can_publish_sources,
            hidden: self.hidden,
            room_admin: self.admin,
            room_create: self.create,
            room_list: self.list,
            ttl: self.ttl,
        })
    }
}

fn parse_secret(text: &str) -> Result<Secret, String> {
    Ok(Secret::new(text.to_owned()))
}

fn parse_attribute(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or("expected NAME=VALUE".into())
}

fn parse_source(text: &str) -> Result<Source, String> {
    match text {
        "camera" => Ok(Source::Camera),
        "microphone" => Ok(Source::Microphone),
        "screen_share" => Ok(Source::ScreenShare),
        "screen_share_audio" => Ok(Source::ScreenShareAudio),
        _ => Err("expected camera, microphone, screen_share or screen_share_audio".into()),
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
