//! The command `switchyard`.

use anyhow::Context as _;
use clap::Parser as _;
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
    let cli = Cli::parse();
    let result = match cli.command {
        Some(CliCommand::Token(args)) => token(args),
        Some(CliCommand::Serve(raw)) => serve(raw),
        Some(CliCommand::Publish(args)) => until_signal(|stop| signaling::publish(args, stop)),
        Some(CliCommand::Play(args)) => until_signal(|stop| signaling::play(args, stop)),
        None => serve(cli.serve),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("switchyard: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "the token is the command's output")]
fn token(args: TokenArgs) -> anyhow::Result<()> {
    let token =
        signaling::auth::sign(args.into(), SystemTime::now()).map_err(anyhow::Error::msg)?;
    println!("{token}");
    Ok(())
}

fn serve(raw: RawConfig) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG_FILTER));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    signaling::panics::limit_reports();
    let config = Config::resolve(raw)?;
    let listener = TcpListener::bind(config.listen)
        .with_context(|| format!("cannot listen on {} (--listen IP:PORT)", config.listen))?;
    until_signal(|shutdown| signaling::run(config, listener, shutdown))
}

/// Runs a command that ends when its token is cancelled, by Ctrl-C or SIGTERM.
fn until_signal<F>(command: impl FnOnce(CancellationToken) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    tokio::runtime::Runtime::new()?.block_on(async {
        let shutdown = CancellationToken::new();
        tokio::spawn(cancel_on_signal(shutdown.clone()));
        command(shutdown).await
    })
}

async fn cancel_on_signal(shutdown: CancellationToken) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        result = tokio::signal::ctrl_c() => result?,
    }
    shutdown.cancel();
    Ok(())
}
