//! What `shape` is told on standard input: `down rate=300k delay=50ms loss=0.02`, `stats`.

use anyhow::{Context as _, bail};

use super::link::{Bursts, Link, MS, Micros, SECOND};
use super::tcp::Tcp;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    /// Changes a direction, or both.
    Change { down: bool, up: bool, changes: Changes },
    /// Asks what passed.
    Stats,
    /// To the server everybody has another address from now on, as when a NAT forgets.
    Rebind,
}

/// Of one direction; what is not named stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Changes {
    rate: Option<u64>,
    queue: Option<Micros>,
    delay: Option<Micros>,
    jitter: Option<Micros>,
    loss: Option<f64>,
    bursts: Option<Option<Bursts>>,
    others: Option<u64>,
    /// The round trip of a download, without this link.
    tcp: Option<Option<Micros>>,
}

impl Command {
    /// Reads a line.
    ///
    /// # Errors
    /// A sentence that says what was not understood.
    pub(crate) fn parse(line: &str) -> anyhow::Result<Self> {
        let mut words = line.split_whitespace();
        let first = words.next().context("an empty line")?;
        let (down, up) = match first {
            "stats" => return Ok(Self::Stats),
            "rebind" => return Ok(Self::Rebind),
            "down" => (true, false),
            "up" => (false, true),
            "both" => (true, true),
            _ => bail!("{first} is none of down, up, both, rebind and stats"),
        };
        Ok(Self::Change { down, up, changes: Changes::parse(words)? })
    }
}

impl Changes {
    /// Reads `KEY=VALUE` words.
    ///
    /// # Errors
    /// A sentence that says what was not understood.
    pub(crate) fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> anyhow::Result<Self> {
        let mut changes = Self::default();
        for word in words {
            let (key, value) =
                word.split_once('=').with_context(|| format!("{word} is not KEY=VALUE"))?;
            match key {
                "rate" => changes.rate = Some(bits(value)?),
                "queue" => changes.queue = Some(time(value)?),
                "delay" => changes.delay = Some(time(value)?),
                "jitter" => changes.jitter = Some(time(value)?),
                "loss" => changes.loss = Some(share(value)?),
                "bursts" => changes.bursts = Some(bursts(value)?),
                "others" => changes.others = Some(bits(value)?),
                "tcp" if value == "off" => changes.tcp = Some(None),
                "tcp" => changes.tcp = Some(Some(time(value)?)),
                _ => bail!(
                    "{key} is none of rate, queue, delay, jitter, loss, bursts, others and tcp"
                ),
            }
        }
        Ok(changes)
    }

    /// Makes the link so, from now on.
    pub(crate) fn apply(&self, link: &mut Link) {
        link.rate = self.rate.unwrap_or(link.rate);
        link.queue = self.queue.unwrap_or(link.queue);
        link.delay = self.delay.unwrap_or(link.delay);
        link.jitter = self.jitter.unwrap_or(link.jitter);
        link.loss = self.loss.unwrap_or(link.loss);
        link.bursts = self.bursts.unwrap_or(link.bursts);
        link.others = self.others.unwrap_or(link.others);
        if let Some(rtt) = self.tcp {
            link.tcp = rtt.map(Tcp::new);
        }
    }
}

/// Bits per second, with `k` or `M`.
fn bits(text: &str) -> anyhow::Result<u64> {
    let (digits, unit) = match text.strip_suffix('k') {
        Some(digits) => (digits, 1e3),
        None => text.strip_suffix('M').map_or((text, 1.0), |digits| (digits, 1e6)),
    };
    Ok((number(digits, text)? * unit) as u64)
}

/// `ms` or `s`.
fn time(text: &str) -> anyhow::Result<Micros> {
    let (digits, unit) = match text.strip_suffix("ms") {
        Some(digits) => (digits, MS),
        None => (text.strip_suffix('s').with_context(|| format!("{text} has no unit"))?, SECOND),
    };
    Ok((number(digits, text)? * unit as f64) as Micros)
}

fn share(text: &str) -> anyhow::Result<f64> {
    let share = number(text, text)?;
    if share > 1.0 {
        bail!("{text} is not between 0 and 1");
    }
    Ok(share)
}

/// `off`, or chance to begin, chance to end and loss in between: `0.01/0.3/0.8`.
fn bursts(text: &str) -> anyhow::Result<Option<Bursts>> {
    if text == "off" {
        return Ok(None);
    }
    let shares = text.split('/').map(share).collect::<anyhow::Result<Vec<_>>>()?;
    let [begin, end, loss] = shares[..] else { bail!("{text} is not BEGIN/END/LOSS") };
    Ok(Some(Bursts { begin, end, loss }))
}

fn number(digits: &str, text: &str) -> anyhow::Result<f64> {
    let number: f64 = digits.parse().with_context(|| format!("{text} is not a number"))?;
    if !(0.0..1e12).contains(&number) {
        bail!("{text} is out of range");
    }
    Ok(number)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn changed(line: &str) -> Link {
        let mut link = Link::new(5_000_000);
        match Command::parse(line).unwrap() {
            Command::Change { changes, .. } => changes.apply(&mut link),
            Command::Stats | Command::Rebind => panic!("not a change"),
        }
        link
    }

    #[test]
    fn a_line_changes_what_it_names() {
        let link = changed("down rate=300k delay=50ms loss=0.02 bursts=0.01/0.3/0.8 jitter=1.5ms");
        assert_eq!((link.rate, link.delay, link.jitter), (300_000, 50_000, 1500));
        assert_eq!((link.loss, link.queue, link.others), (0.02, 300_000, 0));
        assert_eq!(link.bursts, Some(Bursts { begin: 0.01, end: 0.3, loss: 0.8 }));
        assert_eq!(changed("up queue=2s others=1.5M").rate, 5_000_000);
        assert_eq!(changed("both bursts=off").bursts, None);
        assert!(changed("down tcp=30ms").tcp.is_some());
        assert!(changed("down tcp=30ms tcp=off").tcp.is_none());
    }

    #[test]
    fn a_line_says_which_direction_it_is_about() {
        let directions = |line| match Command::parse(line).unwrap() {
            Command::Change { down, up, .. } => (down, up),
            Command::Stats | Command::Rebind => (false, false),
        };
        assert_eq!(directions("down rate=0"), (true, false));
        assert_eq!(directions("up rate=0"), (false, true));
        assert_eq!(directions("both rate=0"), (true, true));
        assert_eq!(Command::parse("stats").unwrap(), Command::Stats);
        assert_eq!(Command::parse("rebind").unwrap(), Command::Rebind);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in [
            "",
            "sideways rate=1",
            "down rate",
            "down rate=fast",
            "down rate=-1",
            "down rate=inf",
            "down delay=50",
            "down loss=1.1",
            "down loss=NaN",
            "down bursts=0.1/0.2",
            "down width=3",
            "down tcp=1",
        ] {
            assert!(Command::parse(line).is_err(), "{line}");
        }
    }
}
