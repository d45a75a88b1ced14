//! Descriptions that are large where a reader could be slow.

use super::*;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// Reading and answering.
const PATIENCE: Duration = Duration::from_millis(20);

/// The least of a few attempts: the machine has other things to do.
fn assert_quick(name: &str, text: &str) {
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        if let Ok(offer) = parse_offer(text) {
            let _ = write_answer(&offer, &local(), &accept_all(&offer));
        }
        fastest = fastest.min(start.elapsed());
        if fastest <= PATIENCE {
            return;
        }
    }
    panic!("{name}: {fastest:?} for {} bytes", text.len());
}

/// The small offer with as many numbered lines as still fit, at the end of its last section.
fn filled(line: impl Fn(usize) -> String) -> String {
    let mut text = SMALL.to_owned();
    for number in 0.. {
        let next = line(number);
        if text.len() + next.len() > 256 * 1024 || number > 8100 {
            return text;
        }
        text += &next;
    }
    text
}

#[test]
fn row_27_bombs_are_read_in_twenty_milliseconds() {
    for (name, line) in [
        ("rtpmap", (|n| format!("a=rtpmap:{} VP8/90000\n", n % 128)) as fn(usize) -> String),
        ("fmtp", |n| format!("a=fmtp:96 x{n}=1\n")),
        ("rtcp-fb", |n| format!("a=rtcp-fb:* nack x{n}\n")),
        ("extmap", |n| format!("a=extmap:{} urn:x:{n}\n", n % 255 + 1)),
        ("ssrc", |n| format!("a=ssrc:{n} cname:x\n")),
        ("ssrc-group", |n| format!("a=ssrc-group:FID {n} {}\n", n + 1)),
        ("rid", |n| format!("a=rid:r{n} send\n")),
        ("candidate", |n| format!("a=candidate:{n} 1 udp 1 192.0.2.1 5000 typ host\n")),
        ("fingerprint", |n| format!("a=fingerprint:sha-256 {n}\n")),
        ("unknown", |n| format!("a=x{n}:y\n")),
        ("group", |n| format!("a=group:LS {n}\n")),
        ("msid", |n| format!("a=msid:s t{n}\n")),
    ] {
        assert_quick(name, &filled(line));
    }
    let mut types = String::new();
    for number in 0..60_000 {
        let _ = write!(types, " {}", number % 128);
    }
    assert_quick("payload types", &SMALL.replace("SAVPF 96", &format!("SAVPF{types}")));
    let mids = " m".repeat(100_000);
    assert_quick("bundle", &SMALL.replace("BUNDLE a v", &format!("BUNDLE a v{mids}")));
    let layers = "q;".repeat(100_000);
    assert_quick("simulcast", &format!("{SMALL}a=rid:q send\na=simulcast:send {layers}q\n"));
    assert_quick("a megabyte", &"a=x\n".repeat(250_000));
    let candidates = "a=candidate:1 1 udp 1 192.0.2.1 5000 typ host\n".repeat(100_000);
    assert_quick("100 000 candidates", &format!("{SMALL}{candidates}"));
}

/// As many m-lines as there may be, all of them live, and many more.
#[test]
fn row_27_hundreds_of_m_lines_are_read_in_twenty_milliseconds() {
    let head = &SMALL[..SMALL.find("m=audio").unwrap()];
    for count in [512, 10_000] {
        let mids: String = (0..count).map(|n| format!(" {n}")).collect();
        let head = head.replace(" a v", &mids);
        let section = |n: usize| {
            format!(
                "m=video 9 UDP/TLS/RTP/SAVPF 96 97\na=mid:{n}\na=recvonly\na=rtcp-mux\na=rtpmap:96 VP8/90000\n\
                 a=rtcp-fb:96 nack\na=rtpmap:97 rtx/90000\na=fmtp:97 apt=96\na=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\n"
            )
        };
        let text = head + &(0..count).map(section).collect::<String>();
        assert_eq!(parse_offer(&text).is_ok(), count == 512, "{count} m-lines");
        assert_quick("m-lines", &text);
    }
}

#[test]
fn row_27_numbers_out_of_range_are_refused_with_their_line() {
    for (from, to) in [
        ("SAVPF 96", "SAVPF 4294967392"),
        ("audio 9", "audio -9"),
        ("a=mid:v", "a=mid:v\na=ssrc:99999999999 cname:x"),
        ("a=mid:v", "a=mid:v\na=extmap:99999 urn:ietf:params:rtp-hdrext:sdes:mid"),
        ("a=setup:actpass", "a=setup:actpass\na=fingerprint:sha-256 AB"),
    ] {
        let Err(error) = parse_offer(&varied(from, to)) else { panic!("accepted: {to}") };
        assert!(error.line.is_some() && error.message.len() < 300, "{to}: {error}");
    }
}
