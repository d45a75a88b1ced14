//! A file that is offered to a room, and sent to those who accept it, as "Files" in PROTOCOL.md has it.

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::frame::Payload;

/// Of all messages about files.
pub(super) const TOPIC: &str = "files";
/// What other clients take.
const FILE_BYTES_MAX: usize = 256 * 1024 * 1024;
const CHUNK_BYTES: usize = 32 * 1024;
/// Whatever somebody says it takes, no more than this is on its way to it.
const WINDOW_BYTES: u64 = 6 * CHUNK_BYTES as u64;
/// Then somebody does not come back.
const GONE: Duration = Duration::from_secs(60);
const RECEIVERS_MAX: usize = 200;

/// What is said about files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Control {
    Offer { file: String, name: String, size: u64, sha256: String },
    Accept { file: String, at: u64, until: u64 },
    Credit { file: String, at: u64, until: u64 },
    Done { file: String, ok: bool },
    Cancel { file: String },
}

/// What follows from something that was said.
#[derive(Debug, Default)]
pub(super) struct News {
    /// To whom it came from.
    pub(super) send: Vec<Payload>,
    /// For people.
    pub(super) say: Option<String>,
}

struct Receiver {
    /// The next byte to send.
    at: u64,
    heard: Instant,
}

/// See the module.
pub(super) struct Offered {
    id: String,
    name: String,
    content: Vec<u8>,
    sha256: String,
    to: Option<String>,
    /// Those who are getting it.
    receivers: BTreeMap<String, Receiver>,
    taken: usize,
}

impl Offered {
    /// A file, to one identity or to everybody.
    pub(super) fn read(path: &Path, to: Option<&str>) -> anyhow::Result<Self> {
        let shown = path.display();
        let size = std::fs::metadata(path).with_context(|| format!("cannot read {shown}"))?.len();
        ensure!(
            size <= FILE_BYTES_MAX as u64,
            "{shown} is too large: a file may have up to 256 MiB"
        );
        let content = std::fs::read(path).with_context(|| format!("cannot read {shown}"))?;
        let name = path.file_name().context("give --send a file")?;
        Ok(Self::new(&name.to_string_lossy(), content, to))
    }

    fn new(name: &str, content: Vec<u8>, to: Option<&str>) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &content);
        let sha256 = digest.as_ref().iter().fold(String::new(), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let id = format!("{:016x}", rand::random::<u64>());
        let (name, to) = (name.to_owned(), to.map(str::to_owned));
        Self { id, name, content, sha256, to, receivers: BTreeMap::new(), taken: 0 }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What is said first, and to whom.
    pub(super) fn offer(&self) -> (Payload, Option<String>) {
        let offer = Control::Offer {
            file: self.id.clone(),
            name: self.name.clone(),
            size: self.content.len() as u64,
            sha256: self.sha256.clone(),
        };
        (text(&offer), self.to.clone())
    }

    /// Nobody else is to have it.
    pub(super) fn is_for(&self, identity: &str) -> bool {
        self.to.as_deref() == Some(identity)
    }

    /// Somebody has it whole.
    pub(super) fn is_taken(&self) -> bool {
        self.taken > 0
    }

    /// Somebody has it, and nobody is getting it.
    pub(super) fn is_over(&self) -> bool {
        self.is_taken() && self.receivers.is_empty()
    }

    /// # Errors
    /// The one that it is for does not want it, or has it damaged.
    pub(super) fn handle(
        &mut self,
        identity: &str,
        said: &str,
        now: Instant,
    ) -> anyhow::Result<News> {
        let mut news = News::default();
        // What is not understood is another program's.
        let Ok(control) = serde_json::from_str::<Control>(said) else { return Ok(news) };
        let for_this = self.to.as_deref().is_none_or(|to| to == identity);
        match control {
            Control::Offer { file, name, size, .. } if file != self.id => {
                news.say = Some(format!("offers the file {name}, {size} bytes; a bot takes none"));
                news.send.push(text(&Control::Cancel { file }));
            }
            Control::Accept { file, at, until }
                if file == self.id && for_this && self.has_room_for(identity) =>
            {
                self.receivers.insert(identity.to_owned(), Receiver { at, heard: now });
                news.send = self.chunks(identity, at, until, now);
            }
            Control::Credit { file, at, until } if file == self.id => {
                news.send = self.chunks(identity, at, until, now);
            }
            Control::Done { file, ok } if file == self.id => {
                let Some(_) = self.receivers.remove(identity) else { return Ok(news) };
                self.taken += usize::from(ok);
                news.say =
                    Some(format!("{} {}", if ok { "has" } else { "got damaged:" }, self.name));
                if !ok && self.to.is_some() {
                    bail!("{} arrived damaged", self.name);
                }
            }
            Control::Cancel { file } if file == self.id => {
                self.receivers.remove(identity);
                news.say = Some(format!("does not want {}", self.name));
                if self.to.as_deref() == Some(identity) {
                    bail!("{identity} does not want {}", self.name);
                }
            }
            _ => {}
        }
        Ok(news)
    }

    fn has_room_for(&self, identity: &str) -> bool {
        self.receivers.len() < RECEIVERS_MAX || self.receivers.contains_key(identity)
    }

    /// Those who have not said anything for long are given up.
    ///
    /// # Errors
    /// It was the one that the file is for.
    pub(super) fn tick(&mut self, now: Instant) -> anyhow::Result<()> {
        let before = self.receivers.len();
        self.receivers.retain(|_, receiver| now - receiver.heard < GONE);
        if self.receivers.len() < before && self.to.is_some() {
            bail!("nothing was heard of the receiver of {} for a minute", self.name);
        }
        Ok(())
    }

    /// What there is credit for.
    fn chunks(&mut self, identity: &str, has: u64, until: u64, now: Instant) -> Vec<Payload> {
        let Some(receiver) = self.receivers.get_mut(identity) else { return Vec::new() };
        receiver.heard = now;
        let size = self.content.len() as u64;
        let until = until.min(has.saturating_add(WINDOW_BYTES)).min(size);
        let mut chunks = Vec::new();
        while receiver.at < until {
            let (from, end) = (receiver.at, until.min(receiver.at + CHUNK_BYTES as u64));
            let content = &self.content[from as usize..end as usize];
            let mut bytes = vec![self.id.len() as u8];
            bytes.extend(self.id.as_bytes());
            bytes.extend(from.to_be_bytes());
            bytes.extend(content);
            chunks.push(Payload::Bytes(bytes));
            receiver.at = end;
        }
        chunks
    }
}

fn text(control: &Control) -> Payload {
    // Strings and numbers become JSON.
    Payload::Text(serde_json::to_string(control).unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// The golden messages of PROTOCOL.md.
    #[test]
    fn every_example_of_the_protocol_is_understood_and_said_alike() {
        let page = include_str!("../../../PROTOCOL.md");
        let block = page.split("```json files\n").nth(1).unwrap().split("```").next().unwrap();
        let lines: Vec<&str> = block.lines().collect();
        assert_eq!(lines.len(), 5);
        for line in lines {
            let control: Control = serde_json::from_str(line).unwrap();
            let (again, golden): (Value, Value) =
                (serde_json::to_value(control).unwrap(), serde_json::from_str(line).unwrap());
            assert_eq!(again, golden);
        }
    }

    fn say(offered: &mut Offered, control: &Control) -> anyhow::Result<News> {
        let said = serde_json::to_string(control).unwrap();
        offered.handle("eve", &said, Instant::now())
    }

    fn bytes_of(news: &News) -> Vec<u8> {
        let content = news.send.iter().flat_map(|payload| match payload {
            Payload::Bytes(bytes) => bytes[1 + 16 + 8..].to_vec(),
            Payload::Text(_) => Vec::new(),
        });
        content.collect()
    }

    #[test]
    fn what_there_is_credit_for_is_sent_and_begins_anew_where_it_is_asked_to() {
        let content: Vec<u8> = (0..300_000_u32).map(|byte| byte as u8).collect();
        let mut offered = Offered::new("a.bin", content.clone(), None);
        let file = offered.id.clone();
        let accept = |at, until| Control::Accept { file: file.clone(), at, until };
        let news = say(&mut offered, &accept(0, 100_000)).unwrap();
        assert_eq!(bytes_of(&news), content[..100_000]);
        assert!(!offered.is_taken() && !offered.is_over());
        // What somebody asks for beyond the window waits.
        let credit = Control::Credit { file: file.clone(), at: 50_000, until: 300_000 };
        let news = say(&mut offered, &credit).unwrap();
        assert_eq!(bytes_of(&news), content[100_000..50_000 + WINDOW_BYTES as usize]);
        let news = say(&mut offered, &accept(299_990, u64::MAX)).unwrap();
        assert_eq!(bytes_of(&news), content[299_990..]);
        assert!(say(&mut offered, &accept(u64::MAX, u64::MAX)).unwrap().send.is_empty());
        say(&mut offered, &Control::Done { file, ok: true }).unwrap();
        assert!(offered.is_over());
    }

    #[test]
    fn who_is_not_meant_gets_nothing_and_a_refusal_is_an_error() {
        let mut offered = Offered::new("a.bin", vec![1; 10], Some("bob"));
        let file = offered.id.clone();
        let news = say(&mut offered, &Control::Accept { file: file.clone(), at: 0, until: 10 });
        assert!(news.unwrap().send.is_empty());
        let cancel = serde_json::to_string(&Control::Cancel { file }).unwrap();
        let refused = offered.handle("bob", &cancel, Instant::now()).unwrap_err();
        assert_eq!(refused.to_string(), "bob does not want a.bin");
        assert!(offered.handle("bob", "no JSON", Instant::now()).unwrap().send.is_empty());
    }

    #[test]
    fn whoever_is_silent_for_a_minute_is_given_up() {
        let mut offered = Offered::new("a.bin", vec![1; 10], None);
        let accept = Control::Accept { file: offered.id.clone(), at: 0, until: 5 };
        say(&mut offered, &accept).unwrap();
        offered.taken = 1;
        offered.tick(Instant::now() + GONE / 2).unwrap();
        assert!(!offered.is_over());
        offered.tick(Instant::now() + GONE).unwrap();
        assert!(offered.is_over());
    }
}
