//! The encodings that a publisher announces: by rid (RFC 8851, RFC 8853), else by SSRC (RFC 5576).

use sfu::params::EncodingParams;

use super::error::{SdpError, quote};
use super::lines::Block;

/// Most encodings of one m-line.
const ENCODINGS_MAX: usize = 8;
/// Most SSRCs of one m-line.
const SSRCS_MAX: usize = 32;
/// Most SSRC groups of one m-line.
const GROUPS_MAX: usize = 32;
/// RFC 8285: a one-byte header extension element carries up to 16 bytes.
const RID_BYTES_MAX: usize = 16;

/// The encodings of an m-line on which the client sends, as listed. An unannounced stream is one default value.
pub(super) fn parse(block: &Block<'_>) -> Result<Vec<EncodingParams>, SdpError> {
    let rids = rids(block)?;
    let encodings = if rids.is_empty() { by_ssrc(block)? } else { rids };
    if encodings.is_empty() { Ok(vec![EncodingParams::default()]) } else { Ok(encodings) }
}

fn rids(block: &Block<'_>) -> Result<Vec<EncodingParams>, SdpError> {
    let mut declared: Vec<&str> = Vec::new();
    for attribute in block.all("rid") {
        let mut words = attribute.value.split(' ').filter(|word| !word.is_empty());
        let (Some(rid), Some(direction)) = (words.next(), words.next()) else {
            return Err(attribute.error("expected a=rid:<id> send|recv"));
        };
        let well_formed = rid.len() <= RID_BYTES_MAX
            && rid.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if !well_formed {
            let found = quote(rid);
            let message =
                format!("rid {found} is not 1 to {RID_BYTES_MAX} letters, digits, '-', '_'");
            return Err(attribute.error(message));
        }
        if declared.contains(&rid) {
            return Err(attribute.error(format!("rid {} stands twice", quote(rid))));
        }
        match direction {
            "send" if declared.len() == ENCODINGS_MAX => {
                return Err(attribute.error(format!("more than {ENCODINGS_MAX} encodings")));
            }
            "send" => declared.push(rid),
            "recv" => {}
            other => {
                let message = format!("rid direction {} is not send or recv", quote(other));
                return Err(attribute.error(message));
            }
        }
    }
    let order = match block.unique("simulcast")? {
        None => declared,
        Some(attribute) => simulcast_order(attribute.value, &declared)
            .map_err(|message| attribute.error(message))?,
    };
    Ok(order
        .into_iter()
        .map(|rid| EncodingParams { rid: Some(rid.to_owned()), ..EncodingParams::default() })
        .collect())
}

/// The `send` list of `a=simulcast`; of alternatives the first one, paused or not.
fn simulcast_order<'a>(value: &'a str, declared: &[&'a str]) -> Result<Vec<&'a str>, String> {
    let words: Vec<&str> = value.split(' ').filter(|word| !word.is_empty()).collect();
    let mut order: Vec<&str> = Vec::new();
    for pair in words.chunks(2) {
        let (["send" | "recv", list], true) = (pair, words.len() <= 4) else {
            return Err("expected a=simulcast:send <rid>;<rid>…".to_owned());
        };
        if pair.first() == Some(&"recv") {
            continue;
        }
        for stream in list.split(';') {
            let first = stream.split(',').next().unwrap_or(stream);
            let rid = first.strip_prefix('~').unwrap_or(first);
            if !declared.contains(&rid) {
                return Err(format!("a=simulcast names {} without a=rid:… send", quote(rid)));
            }
            if order.contains(&rid) {
                return Err(format!("a=simulcast names {} twice", quote(rid)));
            }
            order.push(rid);
        }
    }
    Ok(order)
}

fn by_ssrc(block: &Block<'_>) -> Result<Vec<EncodingParams>, SdpError> {
    let ssrcs = ssrcs(block)?;
    let mut pairs: Vec<(u32, u32)> = Vec::new();
    let mut layers: Vec<u32> = Vec::new();
    let mut repairs: Vec<u32> = Vec::new();
    for (count, attribute) in block.all("ssrc-group").enumerate() {
        if count == GROUPS_MAX {
            return Err(attribute.error(format!("more than {GROUPS_MAX} SSRC groups")));
        }
        let mut words = attribute.value.split(' ').filter(|word| !word.is_empty());
        let semantics = words.next().unwrap_or_default();
        let members: Option<Vec<u32>> =
            words.take(SSRCS_MAX).map(|word| word.parse().ok()).collect();
        let Some(members) = members.filter(|members| !members.is_empty()) else {
            return Err(attribute.error("expected a=ssrc-group:<semantics> <ssrc> <ssrc>…"));
        };
        match (semantics, members.as_slice()) {
            ("FID", [media, rtx]) if media != rtx => {
                pairs.push((*media, *rtx));
                repairs.push(*rtx);
            }
            ("FID", _) => return Err(attribute.error("an FID group has two different SSRCs")),
            ("SIM", _) => layers = members,
            ("FEC-FR" | "FEC", [_, fec @ ..]) => repairs.extend(fec),
            _ => {}
        }
    }
    // Several streams without SIM are Plan B tracks: the m-line is one track, its first stream.
    if layers.is_empty() {
        layers.extend(ssrcs.iter().find(|ssrc| !repairs.contains(ssrc)));
    }
    if layers.len() > ENCODINGS_MAX {
        return Err(SdpError::at(block.line, format!("more than {ENCODINGS_MAX} encodings")));
    }
    Ok(layers
        .into_iter()
        .map(|ssrc| EncodingParams {
            rid: None,
            ssrc: Some(ssrc),
            rtx_ssrc: pairs.iter().find(|(media, _)| *media == ssrc).map(|(_, rtx)| *rtx),
            size: None,
        })
        .collect())
}

/// The different SSRCs in the order of their first line.
fn ssrcs(block: &Block<'_>) -> Result<Vec<u32>, SdpError> {
    let mut ssrcs: Vec<u32> = Vec::new();
    for attribute in block.all("ssrc") {
        let word = attribute.value.split(' ').next().unwrap_or_default();
        let ssrc = word
            .parse()
            .map_err(|_| attribute.error(format!("SSRC {} is not a number", quote(word))))?;
        if ssrcs.contains(&ssrc) {
            continue;
        }
        if ssrcs.len() == SSRCS_MAX {
            return Err(attribute.error(format!("more than {SSRCS_MAX} SSRCs on one m-line")));
        }
        ssrcs.push(ssrc);
    }
    Ok(ssrcs)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::lines;

    fn parsed(lines: &[&str]) -> Result<Vec<EncodingParams>, SdpError> {
        let text = format!("v=0\nm=video\n{}", lines.join("\n"));
        parse(&lines::split(&text).unwrap().media[0])
    }

    fn rids_of(lines: &[&str]) -> Vec<String> {
        parsed(lines).unwrap().into_iter().map(|encoding| encoding.rid.unwrap()).collect()
    }

    const THREE: [&str; 3] = ["a=rid:q send", "a=rid:h send pt=96", "a=rid:f send"];

    #[test]
    fn simulcast_gives_the_order() {
        let with = |simulcast| [THREE.as_slice(), &[simulcast]].concat();
        assert_eq!(rids_of(&THREE), ["q", "h", "f"]);
        assert_eq!(rids_of(&with("a=simulcast:send f;h;q")), ["f", "h", "q"]);
        assert_eq!(rids_of(&with("a=simulcast:send q,h;~f")), ["q", "f"]);
        assert_eq!(rids_of(&with("a=simulcast: recv x send q;h")), ["q", "h"]);
        for bad in
            ["a=simulcast:send q;x", "a=simulcast:send q;q", "a=simulcast:send", "a=simulcast:q;h"]
        {
            assert_eq!(parsed(&with(bad)).unwrap_err().line, Some(6), "{bad}");
        }
    }

    #[test]
    fn refuses_malformed_rids() {
        for bad in ["a=rid:q", "a=rid:q both", "a=rid:q! send", "a=rid:12345678901234567 send"] {
            assert!(parsed(&[bad]).is_err(), "{bad}");
        }
        assert!(parsed(&["a=rid:q send", "a=rid:q send"]).is_err());
        let many: Vec<_> = (0..9).map(|n| format!("a=rid:{n} send")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert!(parsed(&many[1..]).is_ok());
        assert!(parsed(&many).is_err());
    }

    #[test]
    fn reads_ssrcs_with_rtx_and_sim_groups() {
        let one =
            |ssrc, rtx_ssrc| EncodingParams { rid: None, ssrc: Some(ssrc), rtx_ssrc, size: None };
        assert_eq!(parsed(&[]).unwrap(), [EncodingParams::default()]);
        assert_eq!(parsed(&["a=ssrc:7 cname:x"]).unwrap(), [one(7, None)]);
        assert_eq!(
            parsed(&["a=ssrc-group:FID 7 8", "a=ssrc:8 cname:x", "a=ssrc:7 cname:x"]).unwrap(),
            [one(7, Some(8))]
        );
        assert_eq!(
            parsed(&[
                "a=ssrc-group:SIM 1 2 3",
                "a=ssrc-group:FID 2 5",
                "a=ssrc-group:FID 1 4",
                "a=ssrc:1 cname:x",
            ])
            .unwrap(),
            [one(1, Some(4)), one(2, Some(5)), one(3, None)]
        );
        assert_eq!(
            parsed(&["a=ssrc-group:FEC-FR 1 2", "a=ssrc:2 cname:x", "a=ssrc:1 cname:x"]).unwrap(),
            [one(1, None)]
        );
    }

    #[test]
    fn refuses_malformed_ssrcs() {
        for bad in [
            "a=ssrc:x cname:y",
            "a=ssrc:4294967296 cname:y",
            "a=ssrc-group:FID 1",
            "a=ssrc-group:FID 1 1",
            "a=ssrc-group:FID",
            "a=ssrc-group:SIM 1 x",
            "a=ssrc-group:SIM 1 2 3 4 5 6 7 8 9",
        ] {
            assert!(parsed(&[bad]).is_err(), "{bad}");
        }
        let many: Vec<_> = (0..33).map(|n| format!("a=ssrc:{n} cname:x")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert!(parsed(&many[1..]).is_ok());
        assert!(parsed(&many).is_err());
    }
}
