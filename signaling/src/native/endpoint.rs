//! HTTP to a WHIP or WHEP server: an offer is posted, an answer and an address to end it by come back.

use anyhow::{Context as _, anyhow, bail};
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use std::time::Duration;
use tokio::time::timeout;

/// For an answer: a server that needs longer is as good as none.
const PATIENCE: Duration = Duration::from_secs(15);
/// For the goodbye, which must not keep anybody waiting.
const GOODBYE: Duration = Duration::from_secs(3);
/// Characters of a server's sentence that are shown.
const SENTENCE_CHARS: usize = 300;
/// Where a server does not say when to ask again.
const RETRY: Duration = Duration::from_secs(2);

/// Where to post offers.
pub(super) struct Endpoint {
    client: Client,
    url: Url,
    token: Option<String>,
}

/// What came of an offer.
pub(super) enum Reply {
    Answer {
        sdp: String,
        /// To end it by; none where the server names none.
        resource: Option<Url>,
    },
    /// Nothing is live (409): ask again then.
    NothingLive(Duration),
    /// What is live is not in a format that was offered (406).
    NoCommonFormat,
}

impl Endpoint {
    /// # Errors
    /// The address is not one of HTTP.
    pub(super) fn new(url: &str, token: Option<String>, insecure: bool) -> anyhow::Result<Self> {
        let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = parsed.with_context(|| {
            format!("{url} is no address: it begins with http:// or https://, like http://127.0.0.1:8080/whip/stage")
        })?;
        let client = Client::builder()
            .user_agent(concat!("switchyard/", env!("CARGO_PKG_VERSION")))
            .danger_accept_invalid_certs(insecure)
            .timeout(PATIENCE)
            .build()?;
        Ok(Self { client, url, token })
    }

    /// Whether the server is on this machine.
    pub(super) fn is_local(&self) -> bool {
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
    }

    /// # Errors
    /// The server cannot be reached, or refuses; the message says what to do.
    pub(super) async fn post(&self, offer: &str) -> anyhow::Result<Reply> {
        let request = self.request(Method::POST, self.url.clone());
        let request = request.header(CONTENT_TYPE, "application/sdp").body(offer.to_owned());
        let response = request.send().await.map_err(|error| self.explain(error))?;
        match response.status() {
            StatusCode::CREATED => {}
            StatusCode::CONFLICT => return Ok(Reply::NothingLive(retry_after(response.headers()))),
            StatusCode::NOT_ACCEPTABLE => {
                // It made us an offer instead, which is not taken.
                let resource = resource(&response);
                self.delete(resource.as_ref()).await;
                return Ok(Reply::NoCommonFormat);
            }
            status => bail!(self.refusal(status, response).await),
        }
        let resource = resource(&response);
        let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if !kind.is_some_and(|kind| kind.starts_with("application/sdp")) {
            bail!("{} answered, but not with SDP: it is no WHIP or WHEP address", self.url);
        }
        let sdp = response.text().await.context("the answer broke off")?;
        Ok(Reply::Answer { sdp, resource })
    }

    /// Ends what an offer began. A server that is gone by now has ended it too.
    pub(super) async fn delete(&self, resource: Option<&Url>) {
        if let Some(url) = resource {
            let request = self.request(Method::DELETE, url.clone());
            let _ = timeout(GOODBYE, request.send()).await;
        }
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        // The resource may be elsewhere; the token is for whom the user named.
        let is_own = url.origin() == self.url.origin();
        let request = self.client.request(method, url);
        match self.token.as_ref().filter(|_| is_own) {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    fn explain(&self, error: reqwest::Error) -> anyhow::Error {
        let url = &self.url;
        let hint = if error.is_timeout() {
            "it does not answer"
        } else if format!("{error:?}").contains("Certificate") {
            "its certificate is not trusted here (--insecure takes any)"
        } else {
            "does the server run, and is the address right?"
        };
        anyhow!(error.without_url()).context(format!("cannot reach {url}: {hint}"))
    }

    async fn refusal(&self, status: StatusCode, response: Response) -> String {
        let url = &self.url;
        let text = response.text().await.unwrap_or_default();
        let is_page = text.trim_start().starts_with('<');
        let said: String = text.trim().chars().take(SENTENCE_CHARS).collect();
        let said = if said.is_empty() || is_page { String::new() } else { format!(": {said}") };
        match (status, &self.token) {
            (StatusCode::UNAUTHORIZED, None) => {
                format!(
                    "{url} wants a token (401{said}): give one with --token; of a Switchyard server, 'switchyard token' prints one"
                )
            }
            (StatusCode::UNAUTHORIZED, Some(_)) => format!(
                "{url} does not take this token (401{said}): is it of this server, and still valid?"
            ),
            (StatusCode::FORBIDDEN, _) => {
                format!("{url} does not allow this (403{said}): is the token for this room?")
            }
            (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED, _) => format!(
                "{url} is no WHIP or WHEP address ({}{said}): a Switchyard server has /whip/ROOM and /whep/ROOM",
                status.as_u16()
            ),
            _ => format!("{url} refuses ({}{said})", status.as_u16()),
        }
    }
}

/// The `Location` of a response, relative to where it came from.
fn resource(response: &Response) -> Option<Url> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    response.url().join(location).ok()
}

fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    seconds.map_or(RETRY, |seconds: u64| Duration::from_secs(seconds.clamp(1, 60)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_known_as_local() {
        let local = |url| Endpoint::new(url, None, false).map(|endpoint| endpoint.is_local());
        assert!(local("http://127.0.0.1:8080/whip/a").unwrap());
        assert!(local("https://[::1]:8443/whep/a").unwrap());
        assert!(local("http://localhost/whep/a").unwrap());
        assert!(!local("https://sfu.example/whep/a").unwrap());
        for wrong in ["127.0.0.1:8080/whip/a", "ftp://a/", "stage", ""] {
            assert!(local(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn waiting_is_bounded() {
        let wait = |value: &'static str| {
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())])).as_secs()
        };
        assert_eq!((wait("5"), wait("0"), wait("999999"), wait("soon")), (5, 1, 60, 2));
    }
}
