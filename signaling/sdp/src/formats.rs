//! The payload formats of one m-line: rtpmap, fmtp, rtcp-fb, RTX (RFC 8866 section 6.6, RFC 4585, RFC 4588).

use sfu::params::Feedback;

use super::codec::{CodecSpec, Rtpmap, parse_fmtp, value_of};
use super::error::{SdpError, quote};
use super::lines::{Attribute, Block};

/// A format of the offer. RTX is not a format of its own here; it belongs to the one that it repairs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedCodec {
    /// The offerer's payload type, 0..=127 without 64..=95.
    pub payload_type: u8,
    /// Encoding name as written.
    pub name: String,
    /// RTP clock in Hz.
    pub clock_rate: u32,
    /// Audio channels, 1 when absent.
    pub channels: u8,
    /// Format parameters; keys in lower case, a part without `=` has an empty value.
    pub fmtp: Vec<(String, String)>,
    /// What `a=rtcp-fb` offers for it, out of what Switchyard knows.
    pub feedback: Feedback,
    /// Payload type of its RTX.
    pub rtx: Option<u8>,
    /// What it is; `None`: not forwarded.
    pub spec: Option<CodecSpec>,
}

/// Reads the formats of an m-line in the order of preference. `words` are its payload types.
pub(super) fn parse(block: &Block<'_>, words: &[&str]) -> Result<Vec<OfferedCodec>, SdpError> {
    let payload_types = payload_types(block, words)?;
    // Indexed by payload type: the offer decides how many lines there are, not how long each search takes.
    let mut rtpmaps: Vec<Option<Rtpmap>> = (0..=127).map(Rtpmap::of_static).collect();
    let mut named = [false; 128];
    for attribute in block.all("rtpmap") {
        let (payload_type, value) = split_payload_type(&attribute)?;
        let rtpmap = Rtpmap::parse(value).ok_or_else(|| {
            attribute.error(format!("expected <name>/<clock rate>, found {}", quote(value)))
        })?;
        let index = usize::from(payload_type);
        if std::mem::replace(&mut named[index], true) {
            let message = format!("a=rtpmap:{payload_type} stands twice on one m-line");
            return Err(attribute.error(message));
        }
        rtpmaps[index] = Some(rtpmap);
    }
    let mut fmtps: Vec<Vec<(String, String)>> = vec![Vec::new(); 128];
    for attribute in block.all("fmtp") {
        let (payload_type, value) = split_payload_type(&attribute)?;
        fmtps[usize::from(payload_type)] = parse_fmtp(value);
    }
    let feedback = feedback(block)?;

    let mut codecs = Vec::new();
    let mut repairs: Vec<(u8, u8, u32)> = Vec::new();
    for payload_type in payload_types {
        let index = usize::from(payload_type);
        let Some(rtpmap) = rtpmaps[index].take() else { continue };
        let fmtp = std::mem::take(&mut fmtps[index]);
        if rtpmap.name.eq_ignore_ascii_case("rtx") {
            if let Some(apt) = value_of(&fmtp, "apt").and_then(|apt| apt.parse().ok()) {
                repairs.push((apt, payload_type, rtpmap.clock_rate));
            }
            continue;
        }
        codecs.push(OfferedCodec {
            payload_type,
            spec: CodecSpec::recognise(&rtpmap, &fmtp),
            name: rtpmap.name,
            clock_rate: rtpmap.clock_rate,
            channels: rtpmap.channels,
            fmtp,
            feedback: feedback[index],
            rtx: None,
        });
    }
    for codec in &mut codecs {
        codec.rtx = repairs
            .iter()
            .find(|(apt, _, clock)| *apt == codec.payload_type && *clock == codec.clock_rate)
            .map(|(_, rtx, _)| *rtx);
    }
    Ok(codecs)
}

fn payload_types(block: &Block<'_>, words: &[&str]) -> Result<Vec<u8>, SdpError> {
    let mut seen = [false; 128];
    let mut payload_types = Vec::new();
    for word in words {
        let payload_type = parse_payload_type(word, block.line)?;
        if std::mem::replace(&mut seen[usize::from(payload_type)], true) {
            let message = format!("payload type {payload_type} stands twice on this m-line");
            return Err(SdpError::at(block.line, message));
        }
        payload_types.push(payload_type);
    }
    Ok(payload_types)
}

fn parse_payload_type(word: &str, line: usize) -> Result<u8, SdpError> {
    let payload_type = word.parse::<u8>().ok().filter(|payload_type| *payload_type <= 127);
    let Some(payload_type) = payload_type else {
        return Err(SdpError::at(line, format!("payload type {} is not 0..=127", quote(word))));
    };
    // RFC 5761 section 4: with the marker bit they would read as RTCP.
    if (64..=95).contains(&payload_type) {
        let message =
            format!("payload type {payload_type} collides with RTCP; use 96..=127 or 35..=63");
        return Err(SdpError::at(line, message));
    }
    Ok(payload_type)
}

fn split_payload_type<'a>(attribute: &Attribute<'a>) -> Result<(u8, &'a str), SdpError> {
    let Some((word, value)) = attribute.value.split_once(' ') else {
        return Err(attribute.error(format!("expected a={}:<payload type> …", attribute.name)));
    };
    Ok((parse_payload_type(word, attribute.line)?, value.trim()))
}

fn feedback(block: &Block<'_>) -> Result<[Feedback; 128], SdpError> {
    let mut table = [Feedback::default(); 128];
    for attribute in block.all("rtcp-fb") {
        let (range, value) = match attribute.value.split_once(' ') {
            Some(("*", value)) => (0..128, value.trim()),
            _ => {
                let (payload_type, value) = split_payload_type(&attribute)?;
                let index = usize::from(payload_type);
                (index..index + 1, value)
            }
        };
        for feedback in table.iter_mut().take(range.end).skip(range.start) {
            match value {
                "nack" => feedback.nack = true,
                "nack pli" => feedback.pli = true,
                "ccm fir" => feedback.fir = true,
                "transport-cc" => feedback.transport_cc = true,
                "goog-remb" => feedback.remb = true,
                _ => {}
            }
        }
    }
    Ok(table)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::lines;

    fn parsed(words: &str, lines: &[&str]) -> Result<Vec<OfferedCodec>, SdpError> {
        let text = format!("v=0\nm=video\n{}", lines.join("\n"));
        let words: Vec<_> = words.split(' ').collect();
        parse(&lines::split(&text).unwrap().media[0], &words)
    }

    #[test]
    fn joins_rtpmap_fmtp_feedback_and_rtx_in_preference_order() {
        let codecs = parsed(
            "98 97 96 127",
            &[
                "a=rtpmap:96 VP8/90000",
                "a=rtpmap:97 rtx/90000",
                "a=fmtp:97 apt=96",
                "a=rtpmap:98 VP9/90000",
                "a=fmtp:98 profile-id=2",
                "a=rtcp-fb:96 nack",
                "a=rtcp-fb:* nack pli",
                "a=rtcp-fb:98 goog-lntf",
                "a=rtpmap:99 AV1/90000",
            ],
        )
        .unwrap();
        let types: Vec<_> = codecs.iter().map(|c| (c.payload_type, c.rtx, c.spec)).collect();
        assert_eq!(
            types,
            [(98, None, Some(CodecSpec::Vp9 { profile: 2 })), (96, Some(97), Some(CodecSpec::Vp8))]
        );
        assert_eq!(codecs[0].feedback, Feedback { pli: true, ..Feedback::default() });
        assert_eq!(codecs[1].feedback, Feedback { nack: true, pli: true, ..Feedback::default() });
    }

    #[test]
    fn static_types_need_no_rtpmap() {
        let codecs = parsed("0 8 9 13", &[]).unwrap();
        let specs: Vec<_> = codecs.iter().map(|c| c.spec.unwrap()).collect();
        assert_eq!(specs, [CodecSpec::Pcmu, CodecSpec::Pcma, CodecSpec::G722]);
    }

    #[test]
    fn rtx_without_its_codec_repairs_nothing() {
        let lines = ["a=rtpmap:96 VP8/90000", "a=rtpmap:97 rtx/90000", "a=fmtp:97 apt=100"];
        assert_eq!(parsed("96 97", &lines).unwrap()[0].rtx, None);
        let lines = ["a=rtpmap:96 VP8/90000", "a=rtpmap:97 rtx/8000", "a=fmtp:97 apt=96"];
        assert_eq!(parsed("96 97", &lines).unwrap()[0].rtx, None);
    }

    #[test]
    fn refuses_payload_types_that_cannot_be() {
        for (words, expected) in [
            ("128", "0..=127"),
            ("-1", "0..=127"),
            ("x", "0..=127"),
            ("64", "RTCP"),
            ("95", "RTCP"),
            ("96 96", "twice"),
        ] {
            let error = parsed(words, &[]).unwrap_err();
            assert!(error.message.contains(expected) && error.line == Some(2), "{words}: {error}");
        }
        assert!(parsed("63 96", &[]).is_ok());
        for line in [
            "a=rtpmap:96",
            "a=rtpmap:200 VP8/90000",
            "a=rtpmap:96 VP8",
            "a=fmtp:96",
            "a=rtcp-fb:x nack",
        ] {
            assert_eq!(parsed("96", &[line]).unwrap_err().line, Some(3), "{line}");
        }
        assert!(parsed("96", &["a=rtpmap:96 VP8/90000", "a=rtpmap:96 VP9/90000"]).is_err());
    }
}
