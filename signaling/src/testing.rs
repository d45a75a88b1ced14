//! A browser as far as its offers go, for tests.

use crate::protocol::Kind;

/// Who sends, as the client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Send,
    Receive,
    Both,
    Inactive,
    Stopped,
}

/// One m-line.
#[derive(Clone, Debug)]
pub(crate) struct FakeSection {
    pub(crate) mid: String,
    pub(crate) kind: Kind,
    pub(crate) way: Way,
    /// Encoding names of video, preferred first.
    pub(crate) codecs: Vec<&'static str>,
    pub(crate) rids: Vec<&'static str>,
    /// Of audio: packets say how loud they are.
    pub(crate) levels: bool,
    pub(crate) ssrc: u32,
}

/// The client's peer connection.
#[derive(Clone, Debug)]
pub(crate) struct FakePeer {
    pub(crate) ufrag: String,
    pub(crate) setup: &'static str,
    pub(crate) data: bool,
    pub(crate) sections: Vec<FakeSection>,
}

impl FakePeer {
    pub(crate) fn new() -> Self {
        Self { ufrag: "abcd".into(), setup: "actpass", data: true, sections: Vec::new() }
    }

    /// Adds a section and returns its mid.
    pub(crate) fn add(&mut self, kind: Kind, way: Way, codecs: &[&'static str]) -> String {
        let index = self.sections.len() as u32;
        let mid = (index + 1).to_string();
        let (codecs, rids) = (codecs.to_vec(), Vec::new());
        let ssrc = 1000 + 2 * index;
        let levels = true;
        self.sections.push(FakeSection { mid: mid.clone(), kind, way, codecs, rids, levels, ssrc });
        mid
    }

    pub(crate) fn section(&mut self, mid: &str) -> &mut FakeSection {
        self.sections
            .iter_mut()
            .find(|section| section.mid == mid)
            .expect("a section with that mid")
    }

    pub(crate) fn offer(&self) -> String {
        let live = self.sections.iter().filter(|section| section.way != Way::Stopped);
        let mut mids: Vec<&str> = live.map(|section| section.mid.as_str()).collect();
        if self.data {
            mids.insert(0, "0");
        }
        let mut sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\na=ice-ufrag:{}\r\n\
             a=ice-pwd:0123456789012345678901\r\na=setup:{}\r\na=fingerprint:sha-256 {}\r\n",
            mids.join(" "),
            self.ufrag,
            self.setup,
            ["AB"; 32].join(":"),
        );
        if self.data {
            sdp += "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n\
                    a=sctp-port:5000\r\na=max-message-size:262144\r\n";
        }
        self.sections.iter().for_each(|section| section.write(&mut sdp));
        sdp
    }
}

impl FakeSection {
    fn write(&self, sdp: &mut String) {
        let (media, formats) = match self.kind {
            Kind::Audio => ("audio", "111 63".to_owned()),
            Kind::Video => {
                let types: Vec<String> = (0..self.codecs.len())
                    .flat_map(|i| [96 + 2 * i, 97 + 2 * i])
                    .map(|payload_type| payload_type.to_string())
                    .collect();
                ("video", types.join(" "))
            }
        };
        let port = if self.way == Way::Stopped { 0 } else { 9 };
        let way = match self.way {
            Way::Send => "sendonly",
            Way::Receive => "recvonly",
            Way::Both => "sendrecv",
            Way::Inactive | Way::Stopped => "inactive",
        };
        *sdp += &format!(
            "m={media} {port} UDP/TLS/RTP/SAVPF {formats}\r\nc=IN IP4 0.0.0.0\r\na=mid:{}\r\na=rtcp-mux\r\na={way}\r\n\
             a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n",
            self.mid
        );
        match self.kind {
            Kind::Audio => {
                if self.levels {
                    *sdp += "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n";
                }
                *sdp += "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n\
                         a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n";
            }
            Kind::Video => {
                for (index, codec) in self.codecs.iter().enumerate() {
                    let (main, rtx) = (96 + 2 * index, 97 + 2 * index);
                    *sdp += &format!("a=rtpmap:{main} {codec}/90000\r\na=rtcp-fb:{main} nack\r\n");
                    if *codec == "H264" {
                        *sdp += &format!(
                            "a=fmtp:{main} packetization-mode=1;profile-level-id=42e01f\r\n"
                        );
                    }
                    *sdp += &format!("a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={main}\r\n");
                }
            }
        }
        if matches!(self.way, Way::Send | Way::Both) {
            if self.rids.is_empty() {
                *sdp += &format!("a=ssrc:{} cname:c\r\n", self.ssrc);
            } else {
                self.rids.iter().for_each(|rid| *sdp += &format!("a=rid:{rid} send\r\n"));
                *sdp += &format!("a=simulcast:send {}\r\n", self.rids.join(";"));
            }
        }
    }
}

/// The direction of a section in an answer: `sendonly`, `recvonly`, `inactive`; `rejected` with port 0.
pub(crate) fn direction(answer: &str, mid: &str) -> &'static str {
    let section = section(answer, mid);
    if section.lines().next().is_some_and(|line| line.split(' ').nth(1) == Some("0")) {
        return "rejected";
    }
    ["sendonly", "recvonly", "inactive", "sendrecv"]
        .into_iter()
        .find(|way| section.lines().any(|line| line == format!("a={way}")))
        .expect("a direction")
}

/// The text of one section of an answer.
pub(crate) fn section<'a>(answer: &'a str, mid: &str) -> &'a str {
    let line = format!("a=mid:{mid}\r\n");
    let found =
        answer.split("\r\nm=").skip(1).find(|section| format!("{section}\r\n").contains(&line));
    found.expect("a section with that mid")
}
