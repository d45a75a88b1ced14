//! Delivers the events of one target: signed, one after the other, again after a pause where it fails.

use super::Counts;
use super::public::PublicOnly;
use crate::auth::{Secret, unix_seconds};
use crate::config::Webhook;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;

/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause after the first failure; it doubles with each.
const PAUSE: Duration = Duration::from_millis(500);
/// Attempts at one event: with the pauses between them, half a minute and more.
const ATTEMPTS: u32 = 7;
/// How long a signature is good, in seconds.
const SIGNATURE_VALID: u64 = 300;

/// Where events of one address go.
pub(super) struct Target {
    client: Client,
    url: String,
    key: String,
    secret: Secret,
    counts: Arc<Counts>,
}

/// What the signature says.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    nbf: u64,
    exp: u64,
    /// Of the body, in Base64.
    sha256: String,
}

impl Target {
    pub(super) fn new(url: &str, config: &Webhook, counts: Arc<Counts>) -> anyhow::Result<Self> {
        let builder = Client::builder()
            .user_agent(concat!("switchyard/", env!("CARGO_PKG_VERSION")))
            .timeout(PATIENCE)
            // Whoever answers must not choose where we go next, nor may a proxy be between us and the check of addresses.
            .redirect(Policy::none())
            .no_proxy();
        let client = match config.allow_private {
            true => builder.build()?,
            false => builder.dns_resolver(Arc::new(PublicOnly)).build()?,
        };
        let (url, key, secret) = (url.to_owned(), config.key.clone(), config.secret.clone());
        Ok(Self { client, url, key, secret, counts })
    }

    /// Until nobody is left who could send.
    pub(super) async fn run(self, mut queue: mpsc::Receiver<String>) {
        while let Some(event) = queue.recv().await {
            let outcome = match self.deliver(&event).await {
                true => &self.counts.delivered,
                false => &self.counts.failed,
            };
            outcome.fetch_add(1, Ordering::Relaxed);
            self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    async fn deliver(&self, event: &str) -> bool {
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                self.counts.retried.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(PAUSE * 2_u32.pow(attempt - 1)).await;
            }
            match self.attempt(event).await {
                Ok(status) if status.is_success() => return true,
                // Its mind will not change.
                Ok(status) if status.is_client_error() && !is_temporary(status) => {
                    tracing::warn!(url = self.url, %status, "a webhook was refused");
                    return false;
                }
                Ok(status) => tracing::debug!(url = self.url, %status, attempt, "webhook"),
                Err(error) => tracing::debug!(url = self.url, ?error, attempt, "webhook"),
            }
        }
        tracing::warn!(url = self.url, "a webhook could not be delivered in {ATTEMPTS} attempts");
        false
    }

    async fn attempt(&self, event: &str) -> Result<StatusCode, String> {
        let signature = sign(&self.key, &self.secret, event.as_bytes(), SystemTime::now())?;
        let request = self
            .client
            .post(&self.url)
            .header(CONTENT_TYPE, "application/webhook+json")
            .header(AUTHORIZATION, signature)
            .body(event.to_owned());
        let response = request.send().await.map_err(|error| format!("{error:?}"))?;
        Ok(response.status())
    }
}

fn is_temporary(status: StatusCode) -> bool {
    matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

/// A token that vouches for the body.
fn sign(key: &str, secret: &Secret, body: &[u8], now: SystemTime) -> Result<String, String> {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body);
    let nbf = unix_seconds(now);
    let (exp, sha256) = (nbf + SIGNATURE_VALID, STANDARD.encode(digest));
    let claims = Claims { iss: key, nbf, exp, sha256 };
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).map_err(|e| e.to_string())
}
