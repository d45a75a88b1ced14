//! The command `switchyard`.

use anyhow::Context as _;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};
use signaling::Ending;
use signaling::cli::{Cli, CliCommand, TokenArgs};
use signaling::config::{Config, RawConfig};
use std::net::TcpListener;
use std::process::ExitCode;
use std::time::SystemTime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// The protocol libraries log what peers send them, a line or more for each handshake: a peer must not fill the log.
const LOG_FILTER: &str = "info,rtc_dtls=off,rtc_shared=off,sctp_proto=off,rustls=warn";

fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let result = match cli.command {
        Some(CliCommand::Serve(raw)) => return serve(raw),
        None => return serve(cli.serve),
        Some(CliCommand::Token(args)) => token(args),
        Some(CliCommand::Config(raw)) => show(raw, matches.subcommand_matches("config")),
        Some(CliCommand::Publish(args)) => until_signal(|stop| signaling::publish(args, stop)),
        Some(CliCommand::Play(args)) => until_signal(|stop| signaling::play(args, stop)),
        Some(CliCommand::Bot(args)) => until_signal(|stop| signaling::bot(args, stop)),
    };
    result.map_or_else(failed, |()| ExitCode::SUCCESS)
}

fn failed(error: anyhow::Error) -> ExitCode {
    eprintln!("switchyard: {error:#}");
    ExitCode::FAILURE
}

#[allow(clippy::print_stdout, reason = "the token is the command's output")]
fn token(args: TokenArgs) -> anyhow::Result<()> {
    let token =
        args.request().and_then(|request| signaling::auth::sign(request, SystemTime::now()));
    println!("{}", token.map_err(anyhow::Error::msg)?);
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the page is the command's output")]
fn show(raw: RawConfig, matches: Option<&ArgMatches>) -> anyhow::Result<()> {
    let page = matches.map(|matches| signaling::config::show(raw, matches)).transpose()?;
    print!("{}", page.unwrap_or_default());
    Ok(())
}

/// Exit code of a server that had to send people away when it was told to stop.
const SENT_AWAY: u8 = 3;

fn serve(raw: RawConfig) -> ExitCode {
    match try_serve(raw) {
        Ok(Ending::Empty) => {
            tracing::info!("stopped: nobody was left");
            ExitCode::SUCCESS
        }
        Ok(Ending::SentAway(people)) => {
            tracing::warn!(people, "stopped: they were sent away at the deadline (--drain)");
            ExitCode::from(SENT_AWAY)
        }
        Err(error) => failed(error),
    }
}

fn try_serve(raw: RawConfig) -> anyhow::Result<Ending> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG_FILTER));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    signaling::panics::limit_reports();
    let config = Config::resolve(raw)?;
    let listener = TcpListener::bind(config.listen)
        .with_context(|| format!("cannot listen on {} (--listen IP:PORT)", config.listen))?;
    until_signal(|shutdown| signaling::run(config, listener, shutdown))
}

/// Runs a command that ends when its token is cancelled, by Ctrl-C or SIGTERM. A second signal ends the process at once.
fn until_signal<F, T>(command: impl FnOnce(CancellationToken) -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    tokio::runtime::Runtime::new()?.block_on(async {
        let shutdown = CancellationToken::new();
        tokio::spawn(cancel_on_signal(shutdown.clone()));
        command(shutdown).await
    })
}

async fn cancel_on_signal(shutdown: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    for _ in 0..2 {
        let number = tokio::select! {
            _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
        };
        if shutdown.is_cancelled() {
            tracing::warn!(signal = number, "told to stop a second time: ending at once");
            // As a shell says that a signal ended it.
            std::process::exit(128 + number);
        }
        shutdown.cancel();
    }
    Ok(())
}
