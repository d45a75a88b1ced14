//! The web demo, carried inside the binary.

use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use std::collections::HashMap;

/// Path below `web-demo/`, MIME type, content, the same compressed by gzip.
const FILES: &[(&str, &str, &[u8], &[u8])] = include!(concat!(env!("OUT_DIR"), "/web_demo.rs"));

/// Scripts, styles and pictures come from here only; a page can be opened on a WebSocket of ours only (Safari before 15.4 does not
/// count `ws:` as `'self'`). No page may frame ours: it would inherit the camera permission.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: blob:; \
     media-src 'self' blob: mediastream:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The files by address, with their entity tags.
#[derive(Debug)]
pub(crate) struct Assets {
    files: HashMap<&'static str, Asset>,
}

#[derive(Debug)]
struct Asset {
    mime: &'static str,
    plain: Variant,
    gzip: Variant,
}

#[derive(Debug)]
struct Variant {
    etag: HeaderValue,
    content: &'static [u8],
}

impl Assets {
    pub(crate) fn new() -> Self {
        let files = FILES.iter().map(|(path, mime, content, packed)| {
            let asset = Asset { mime, plain: Variant::new(content), gzip: Variant::new(packed) };
            (*path, asset)
        });
        Self { files: files.collect() }
    }

    pub(crate) fn serve(&self, uri: &Uri, request: &HeaderMap) -> Response {
        let path = uri.path().trim_start_matches('/');
        let path = if path.is_empty() { "index" } else { path };
        let page = || self.files.get(format!("{path}.html").as_str());
        let Some(asset) = self.files.get(path).or_else(page) else {
            return (StatusCode::NOT_FOUND, "There is nothing at this address.\n").into_response();
        };
        let gzip = takes_gzip(request);
        let variant = if gzip { &asset.gzip } else { &asset.plain };
        let same = request.get(header::IF_NONE_MATCH) == Some(&variant.etag);
        let mut response = if same {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(header::CONTENT_TYPE, asset.mime)], variant.content).into_response()
        };
        let headers = response.headers_mut();
        if gzip && !same {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        headers.insert(header::ETAG, variant.etag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }
}

impl Variant {
    fn new(content: &'static [u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content);
        let hex: String = digest.as_ref().iter().take(8).map(|b| format!("{b:02x}")).collect();
        let etag = HeaderValue::from_str(&format!("\"{hex}\"")).expect("hexadecimal digits");
        Self { etag, content }
    }
}

/// Whether `Accept-Encoding` names gzip and does not rule it out (RFC 9110 section 12.5.3).
fn takes_gzip(request: &HeaderMap) -> bool {
    let lines = request.get_all(header::ACCEPT_ENCODING).into_iter();
    let codings = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    codings
        .map(|coding| coding.split(';').map(str::trim))
        .any(|mut parts| parts.next() == Some("gzip") && !parts.any(is_zero))
}

fn is_zero(parameter: &str) -> bool {
    let weight = parameter.strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
    weight == Some(0.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn get(lines: &[(header::HeaderName, &str)]) -> (StatusCode, HeaderMap) {
        let lines = lines.iter().map(|(name, value)| (name.clone(), value.parse().unwrap()));
        let response =
            Assets::new().serve(&Uri::from_static("/main.js"), &lines.collect::<HeaderMap>());
        (response.status(), response.headers().clone())
    }

    #[test]
    fn whoever_takes_gzip_gets_it_and_each_form_has_a_tag_of_its_own() {
        let encoding = |accepted: &str| {
            let (_, headers) = get(&[(header::ACCEPT_ENCODING, accepted)]);
            assert_eq!(headers[header::VARY], "accept-encoding");
            (headers.contains_key(header::CONTENT_ENCODING), headers[header::ETAG].clone())
        };
        let ((plain, plain_tag), (gzip, tag)) = (encoding("br"), encoding("deflate, gzip;q=0.5"));
        assert!(!plain && gzip && plain_tag != tag);
        assert!(!encoding("gzip;q=0, identity").0 && !encoding("").0);
        let tagged = |tag: &HeaderValue| {
            let tag = tag.to_str().unwrap();
            get(&[(header::ACCEPT_ENCODING, "gzip"), (header::IF_NONE_MATCH, tag)]).0
        };
        assert_eq!(tagged(&tag), StatusCode::NOT_MODIFIED);
        assert_eq!(tagged(&plain_tag), StatusCode::OK);
    }

    #[test]
    fn a_page_loads_one_script_with_all_that_its_modules_are() {
        let file = |name: &str| FILES.iter().find(|(path, ..)| *path == name).map(|file| file.2);
        let text = |name: &str| std::str::from_utf8(file(name).unwrap()).unwrap();
        for (page, script) in [("index", "main"), ("live", "live"), ("operator", "operator")] {
            let source = format!("src=\"{script}.bundle.js\"");
            assert!(text(&format!("{page}.html")).contains(&source), "{page}");
            let bundle = text(&format!("{script}.bundle.js"));
            let module = |line: &str| line.starts_with("import ") || line.starts_with("export ");
            assert!(!bundle.lines().any(module), "{script}");
            assert!(bundle.contains("// language.js\nconst m"), "{script}");
        }
        for part in ["\nclass Room ", "\nclass Grid ", "\nclass Secrecy "] {
            assert_eq!(text("main.bundle.js").matches(part).count(), 1, "{part}");
        }
        assert!(file("client/room.js").is_some() && file("client/e2ee/worker.js").is_some());
    }

    #[test]
    fn what_is_compressed_is_smaller() {
        for (path, _, content, packed) in FILES {
            assert!(packed.starts_with(&[0x1f, 0x8b]) && packed.len() < content.len(), "{path}");
        }
    }
}
