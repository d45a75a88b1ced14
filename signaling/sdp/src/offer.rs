//! A whole offer: its m-lines, the one bundle they share, and the rules that hold across them (RFC 8843).

use std::collections::HashMap;

use sfu::params::{DtlsRole, ExtensionKind, Fingerprint, IceCredentials};

use super::error::{SdpError, quote};
use super::lines::{self, Block, Blocks};
use super::section::{Section, SectionKind};
use super::transport::{self, Setup};

/// A checked offer.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The client's ICE credentials. Different ones in a later offer are an ICE restart.
    pub ice: IceCredentials,
    /// The client's certificate, sha-256 or better; never empty.
    pub fingerprints: Vec<Fingerprint>,
    /// The client's wish for the DTLS roles.
    pub setup: Setup,
    /// Mids of `a=group:BUNDLE`; empty for a single m-line without it.
    pub bundle: Vec<String>,
    /// `a=ice-options`, such as `trickle`.
    pub ice_options: Vec<String>,
    /// `a=extmap-allow-mixed` for the whole session.
    pub extmap_allow_mixed: bool,
    /// All m-lines in order; at least one is live.
    pub sections: Vec<Section>,
}

impl Offer {
    /// Our side of the DTLS handshake.
    pub fn dtls_role(&self) -> DtlsRole {
        self.setup.local_role()
    }

    /// The m-line with this mid.
    pub fn section(&self, mid: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.mid.as_deref() == Some(mid))
    }

    /// `a=ice-options` of the answer.
    pub(super) fn answered_ice_options(&self) -> Vec<&'static str> {
        let offered = |option: &&str| self.ice_options.iter().any(|known| known == option);
        ["trickle", "ice2"].into_iter().filter(offered).collect()
    }

    /// The live m-line of the data channels.
    pub fn application(&self) -> Option<&Section> {
        self.sections.iter().find(|section| section.sctp.is_some())
    }
}

/// Reads and checks an offer.
///
/// # Errors
/// The first thing that is wrong, with its line and the remedy.
pub fn parse_offer(sdp: &str) -> Result<Offer, SdpError> {
    let blocks = lines::split(sdp)?;
    let sections = blocks
        .media
        .iter()
        .enumerate()
        .map(|(index, block)| Section::parse(index, block, &blocks.session))
        .collect::<Result<Vec<_>, _>>()?;
    check_mids(&sections, &blocks)?;
    let bundle = bundle(&blocks.session, &sections)?;
    let tagged = tagged(&bundle, &sections, &blocks)?;
    check_extension_ids(&sections, &blocks)?;
    check_ssrcs(&sections, &blocks)?;
    let transport = transport::parse(&blocks.session, tagged)?;
    Ok(Offer {
        ice: transport.ice,
        fingerprints: transport.fingerprints,
        setup: transport.setup,
        ice_options: ice_options(&blocks.session, tagged),
        extmap_allow_mixed: blocks.session.has("extmap-allow-mixed"),
        bundle,
        sections,
    })
}

fn error_at(section: &Section, blocks: &Blocks<'_>, message: impl Into<String>) -> SdpError {
    match blocks.media.get(section.index) {
        Some(block) => SdpError::at(block.line, message),
        None => SdpError::new(message),
    }
}

fn check_mids(sections: &[Section], blocks: &Blocks<'_>) -> Result<(), SdpError> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut application = false;
    for section in sections {
        if let Some(mid) = &section.mid
            && seen.insert(mid, section.index).is_some()
        {
            let message = format!("mid {} stands on two m-lines", quote(mid));
            return Err(error_at(section, blocks, message));
        }
        if section.is_live()
            && section.kind == SectionKind::Application
            && std::mem::replace(&mut application, true)
        {
            return Err(error_at(section, blocks, "a second m=application; one carries all data"));
        }
    }
    Ok(())
}

fn bundle(session: &Block<'_>, sections: &[Section]) -> Result<Vec<String>, SdpError> {
    let mut bundle: Vec<String> = Vec::new();
    let mut groups = 0;
    for attribute in session.all("group") {
        let Some(mids) = attribute.value.strip_prefix("BUNDLE") else { continue };
        groups += 1;
        if groups > 1 {
            return Err(attribute.error("a second BUNDLE group; offer bundlePolicy max-bundle"));
        }
        let known: HashMap<&str, usize> = sections
            .iter()
            .filter_map(|section| Some((section.mid.as_deref()?, section.index)))
            .collect();
        let mut used = vec![false; sections.len()];
        for mid in mids.split(' ').filter(|mid| !mid.is_empty()) {
            let slot = known.get(mid).and_then(|index| used.get_mut(*index));
            match slot.map(|used| std::mem::replace(used, true)) {
                None => {
                    let message = format!("BUNDLE names {}, which no m-line has", quote(mid));
                    return Err(attribute.error(message));
                }
                Some(true) => {
                    return Err(attribute.error(format!("BUNDLE names {} twice", quote(mid))));
                }
                Some(false) => bundle.push(mid.to_owned()),
            }
        }
    }
    Ok(bundle)
}

/// The m-line whose transport attributes count (RFC 8843 section 7.2.1).
fn tagged<'b, 'a>(
    bundle: &[String],
    sections: &[Section],
    blocks: &'b Blocks<'a>,
) -> Result<&'b Block<'a>, SdpError> {
    let live: Vec<&Section> = sections.iter().filter(|section| section.is_live()).collect();
    let Some(first) = live.first() else {
        return Err(SdpError::new("no m-line to accept; offer audio, video or data channels"));
    };
    if bundle.is_empty() {
        if let Some(second) = live.get(1) {
            let message = "several m-lines without a=group:BUNDLE; offer bundlePolicy max-bundle";
            return Err(error_at(second, blocks, message));
        }
        return blocks.media.get(first.index).ok_or_else(|| SdpError::new("no m-line"));
    }
    let by_mid: HashMap<&str, &Section> =
        live.iter().filter_map(|section| Some((section.mid.as_deref()?, *section))).collect();
    let mut bundled = vec![false; sections.len()];
    for section in bundle.iter().filter_map(|mid| by_mid.get(mid.as_str())) {
        if let Some(bundled) = bundled.get_mut(section.index) {
            *bundled = true;
        }
    }
    if let Some(outside) = live.iter().find(|s| bundled.get(s.index) != Some(&true)) {
        let message = "this m-line is not in the BUNDLE group; offer bundlePolicy max-bundle";
        return Err(error_at(outside, blocks, message));
    }
    bundle
        .iter()
        .find_map(|mid| by_mid.get(mid.as_str()))
        .and_then(|section| blocks.media.get(section.index))
        .ok_or_else(|| SdpError::new("the BUNDLE group names no m-line to accept"))
}

/// RFC 8843 section 9.2: in a bundle an id means the same on every m-line.
fn check_extension_ids(sections: &[Section], blocks: &Blocks<'_>) -> Result<(), SdpError> {
    let mut kinds: HashMap<u8, ExtensionKind> = HashMap::new();
    for section in sections {
        for extension in &section.extensions {
            let mapping = extension.mapping;
            if *kinds.entry(mapping.id).or_insert(mapping.kind) != mapping.kind {
                let message =
                    format!("extmap id {} means something else on another m-line", mapping.id);
                return Err(error_at(section, blocks, message));
            }
        }
    }
    Ok(())
}

fn check_ssrcs(sections: &[Section], blocks: &Blocks<'_>) -> Result<(), SdpError> {
    let mut owners: HashMap<u32, usize> = HashMap::new();
    for section in sections {
        let announced = section.encodings.iter().flat_map(|e| [e.ssrc, e.rtx_ssrc]).flatten();
        for ssrc in announced {
            if *owners.entry(ssrc).or_insert(section.index) != section.index {
                let message = format!("SSRC {ssrc} is announced by another m-line too");
                return Err(error_at(section, blocks, message));
            }
        }
    }
    Ok(())
}

fn ice_options(session: &Block<'_>, tagged: &Block<'_>) -> Vec<String> {
    let mut options: Vec<String> = Vec::new();
    for attribute in session.all("ice-options").chain(tagged.all("ice-options")) {
        for option in attribute.value.split(' ').filter(|option| !option.is_empty()).take(8) {
            if options.len() < 8 && !options.iter().any(|known| known == option) {
                options.push(option.to_owned());
            }
        }
    }
    options
}
