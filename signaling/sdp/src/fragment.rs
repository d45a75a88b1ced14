//! SDP fragments for trickled candidates and ICE restarts (RFC 8840 section 4.4, as RFC 9725 section 4.3 uses them).

use std::fmt::Write as _;

use sfu::params::IceCredentials;

use super::answer::LocalDescription;
use super::candidate;
use super::error::{SdpError, quote};
use super::offer::Offer;
use super::transport::check_ice_word;

/// Longest accepted fragment in bytes.
pub const FRAGMENT_BYTES_MAX: usize = 64 * 1024;
/// Most lines of a fragment.
const LINES_MAX: usize = 1024;

/// What a client says about its side of ICE. Its candidates are checked only: an ICE-lite side learns them from the checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceFragment {
    /// `None`: the fragment had none, so it speaks of the credentials that are in use.
    pub ice: Option<IceCredentials>,
    /// Well-formed candidates, whatever their transport.
    pub candidates: usize,
}

/// Reads a fragment. Attributes that say nothing about ICE are passed over.
///
/// # Errors
/// The first thing that is wrong, with its line and the remedy.
pub fn parse_ice_fragment(text: &str) -> Result<IceFragment, SdpError> {
    if text.len() > FRAGMENT_BYTES_MAX {
        return Err(SdpError::new(format!("more than {FRAGMENT_BYTES_MAX} bytes in a fragment")));
    }
    let (mut ufrag, mut password, mut candidates, mut empty) = (None, None, 0, true);
    for (index, line) in text.trim_end_matches(['\r', '\n']).split('\n').enumerate() {
        let number = index + 1;
        let line = line.strip_suffix('\r').unwrap_or(line);
        if number > LINES_MAX {
            return Err(SdpError::at(number, format!("more than {LINES_MAX} lines in a fragment")));
        }
        let well_formed = line.split_once('=').is_some_and(|(kind, _)| matches!(kind, "a" | "m"));
        if !well_formed || line.chars().any(char::is_control) {
            let message = format!("a fragment has lines a=… and m=…, not {}", quote(line));
            return Err(SdpError::at(number, message));
        }
        let Some((name, value)) = line.strip_prefix("a=").and_then(|rest| rest.split_once(':'))
        else {
            empty &= line != "a=end-of-candidates";
            continue;
        };
        match name {
            "ice-ufrag" => once(number, "ice-ufrag", 4, value, &mut ufrag)?,
            "ice-pwd" => once(number, "ice-pwd", 22, value, &mut password)?,
            "candidate" => {
                candidate::parse_value(value).ok_or_else(|| {
                    SdpError::at(number, format!("malformed candidate {}", quote(value)))
                })?;
                candidates += 1;
            }
            _ => continue,
        }
        empty = false;
    }
    if empty {
        let message =
            "a fragment needs a=ice-ufrag and a=ice-pwd, or candidates, or a=end-of-candidates";
        return Err(SdpError::new(message));
    }
    let ice = match (ufrag, password) {
        (Some(ufrag), Some(password)) => Some(IceCredentials { ufrag, password }),
        (None, None) => None,
        _ => return Err(SdpError::new("a=ice-ufrag and a=ice-pwd belong together")),
    };
    Ok(IceFragment { ice, candidates })
}

/// In a fragment of several sections the credentials of a bundle may be repeated, but not differ.
fn once(
    line: usize,
    name: &'static str,
    len_min: usize,
    value: &str,
    slot: &mut Option<String>,
) -> Result<(), SdpError> {
    check_ice_word(name, len_min, value).map_err(|message| SdpError::at(line, message))?;
    match slot {
        Some(before) if before != value => {
            Err(SdpError::at(line, format!("a second a={name}; one bundle has one")))
        }
        _ => {
            *slot = Some(value.to_owned());
            Ok(())
        }
    }
}

/// What the answer to an ICE restart repeats of the first answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FragmentFrame {
    ice_options: Vec<&'static str>,
    bundle: Vec<String>,
    media: String,
    mid: Option<String>,
}

impl FragmentFrame {
    /// Of the section that carries the bundle's transport.
    pub fn of(offer: &Offer) -> Self {
        let tagged = offer.bundle.iter().find_map(|mid| offer.section(mid).filter(|s| s.is_live()));
        let section = tagged.or_else(|| offer.sections.iter().find(|section| section.is_live()));
        Self {
            ice_options: offer.answered_ice_options(),
            bundle: offer.bundle.clone(),
            media: section.map_or_else(String::new, |section| {
                format!("{} 9 {} {}", section.media, section.protocol, section.format)
            }),
            mid: section.and_then(|section| section.mid.clone()),
        }
    }
}

/// Our side after an ICE restart. RFC 9725 section 4.3.3: `ice-lite` and `ice-options` are those of the answer.
pub fn write_ice_fragment(frame: &FragmentFrame, local: &LocalDescription) -> String {
    let mut out = String::from("a=ice-lite\r\n");
    if !frame.ice_options.is_empty() {
        let _ = write!(out, "a=ice-options:{}\r\n", frame.ice_options.join(" "));
    }
    if !frame.bundle.is_empty() {
        let _ = write!(out, "a=group:BUNDLE {}\r\n", frame.bundle.join(" "));
    }
    let _ = write!(out, "m={}\r\n", frame.media);
    if let Some(mid) = &frame.mid {
        let _ = write!(out, "a=mid:{mid}\r\n");
    }
    let IceCredentials { ufrag, password } = &local.ice;
    let _ = write!(out, "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\n");
    candidate::write(&mut out, &local.candidates, &local.tcp_candidates);
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ICE: &str = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n";
    const CANDIDATE: &str = "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host\r\n";

    #[test]
    fn reads_what_clients_trickle() {
        let fragment = format!(
            "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n{ICE}{CANDIDATE}a=end-of-candidates\r\n"
        );
        let parsed = parse_ice_fragment(&fragment).unwrap();
        assert_eq!(parsed.ice.unwrap().ufrag, "EsAw");
        assert_eq!(parsed.candidates, 1);
        let parsed = parse_ice_fragment(CANDIDATE).unwrap();
        assert_eq!((parsed.ice, parsed.candidates), (None, 1));
        assert!(parse_ice_fragment("a=end-of-candidates").is_ok());
        // A transport that we do not speak and a name that nobody resolves are no errors.
        let foreign = "a=candidate:1 1 sctp 1 host.local 5000 typ host\n";
        assert_eq!(parse_ice_fragment(foreign).unwrap().candidates, 1);
    }

    #[test]
    fn refuses_what_is_malformed() {
        for bad in [
            "",
            "hello",
            "v=0",
            "m=audio 9 x 0",
            "a=ice-ufrag:EsAw",
            "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1",
            "a=ice-ufrag:E\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1",
            "a=ice-ufrag:EsAw\na=ice-pwd:short",
            "a=ice-ufrag:EsAw\na=ice-ufrag:EsAx\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1",
            "a=candidate:nonsense",
            "a=mid:0\ra=end-of-candidates",
        ] {
            assert!(parse_ice_fragment(bad).is_err(), "{bad:?}");
        }
        let lines = |count| "a=end-of-candidates\n".repeat(count);
        assert!(parse_ice_fragment(&lines(LINES_MAX)).is_ok());
        assert!(parse_ice_fragment(&lines(LINES_MAX + 1)).is_err());
    }
}
