//! The outer grammar: lines, and attributes grouped by session and m-line (RFC 8866 section 5).

use super::error::{SdpError, quote};

/// Longest accepted description in bytes.
const BYTES_MAX: usize = 256 * 1024;
/// Most lines of a description.
const LINES_MAX: usize = 8192;
/// Most m-lines of a description.
const SECTIONS_MAX: usize = 512;

/// One `a=name` or `a=name:value`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute<'a> {
    pub(super) line: usize,
    pub(super) name: &'a str,
    pub(super) value: &'a str,
}

impl Attribute<'_> {
    pub(super) fn error(&self, message: impl Into<String>) -> SdpError {
        SdpError::at(self.line, message)
    }
}

/// The session part, or one m-line with what belongs to it.
#[derive(Debug, Default)]
pub(super) struct Block<'a> {
    /// Line of the m-line, 1 for the session part.
    pub(super) line: usize,
    /// What follows `m=`; empty for the session part.
    pub(super) media: &'a str,
    pub(super) attributes: Vec<Attribute<'a>>,
}

impl<'a> Block<'a> {
    pub(super) fn all(&self, name: &'static str) -> impl Iterator<Item = Attribute<'a>> + '_ {
        self.attributes.iter().copied().filter(move |attribute| attribute.name == name)
    }

    pub(super) fn has(&self, name: &'static str) -> bool {
        self.all(name).next().is_some()
    }

    /// An attribute that may stand here once.
    pub(super) fn unique(&self, name: &'static str) -> Result<Option<Attribute<'a>>, SdpError> {
        let mut found = self.all(name);
        let first = found.next();
        match found.next() {
            Some(second) => Err(second.error(format!("a={name} stands twice; write it once"))),
            None => Ok(first),
        }
    }
}

/// A description in its blocks.
#[derive(Debug)]
pub(super) struct Blocks<'a> {
    pub(super) session: Block<'a>,
    pub(super) media: Vec<Block<'a>>,
}

/// Splits a description; lines end in CRLF or LF.
pub(super) fn split(sdp: &str) -> Result<Blocks<'_>, SdpError> {
    if sdp.len() > BYTES_MAX {
        return Err(SdpError::new(format!(
            "the description has {} bytes, {BYTES_MAX} are allowed; trim codecs with setCodecPreferences",
            sdp.len()
        )));
    }
    let text = sdp.trim_end_matches(['\r', '\n']);
    let mut blocks = Blocks { session: Block { line: 1, ..Block::default() }, media: Vec::new() };
    for (index, raw) in text.split('\n').enumerate() {
        let line = index + 1;
        if line > LINES_MAX {
            return Err(SdpError::at(line, format!("more than {LINES_MAX} lines")));
        }
        let raw = raw.strip_suffix('\r').unwrap_or(raw);
        add_line(&mut blocks, line, raw)?;
    }
    Ok(blocks)
}

fn add_line<'a>(blocks: &mut Blocks<'a>, line: usize, raw: &'a str) -> Result<(), SdpError> {
    // A control character inside a value could end a line of the answer early.
    if raw.chars().any(char::is_control) {
        return Err(SdpError::at(line, "control character; lines end in CRLF or LF"));
    }
    let Some((kind, value)) = raw.split_once('=').filter(|(kind, _)| is_type_letter(kind)) else {
        let found = quote(raw);
        return Err(SdpError::at(line, format!("expected <letter>=<value>, found {found}")));
    };
    if (line == 1) != (kind == "v") || (kind == "v" && value != "0") {
        return Err(SdpError::at(line, "a description starts with v=0, once"));
    }
    match kind {
        "m" if blocks.media.len() == SECTIONS_MAX => {
            return Err(SdpError::at(line, format!("more than {SECTIONS_MAX} m-lines")));
        }
        "m" => blocks.media.push(Block { line, media: value, attributes: Vec::new() }),
        "a" => {
            let (name, value) = value.split_once(':').unwrap_or((value, ""));
            let block = blocks.media.last_mut().unwrap_or(&mut blocks.session);
            block.attributes.push(Attribute { line, name, value });
        }
        // Origin, connection, timing, bandwidth: WebRTC ignores what they say.
        _ => {}
    }
    Ok(())
}

fn is_type_letter(kind: &str) -> bool {
    kind.len() == 1 && kind.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// RFC 8866 `token`.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&byte))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn groups_attributes_by_media_line_with_either_line_end() {
        for end in ["\r\n", "\n"] {
            let text = ["v=0", "a=x:1", "m=audio 9 P 0", "a=flag", "m=video 9 P 1", "a=x:a:b", ""]
                .join(end);
            let blocks = split(&text).unwrap();
            assert_eq!(blocks.session.unique("x").unwrap().unwrap().value, "1");
            assert_eq!(blocks.media.len(), 2);
            assert!(blocks.media[0].has("flag") && !blocks.media[0].has("x"));
            let last = blocks.media[1].unique("x").unwrap().unwrap();
            assert_eq!((last.line, last.value), (6, "a:b"));
        }
    }

    #[test]
    fn refuses_what_is_not_a_description() {
        for (text, line) in [
            ("", 1),
            ("hello", 1),
            ("s=-", 1),
            ("v=1", 1),
            ("v=0\nv=0", 2),
            ("v=0\n\ns=-", 2),
            ("v=0\nA=x", 2),
            ("v=0\nice=x", 2),
            ("v=0\na=mid:a\rb\n", 2),
            ("v=0\na=mid:\0", 2),
        ] {
            assert_eq!(split(text).unwrap_err().line, Some(line), "{text:?}");
        }
    }

    #[test]
    fn row_27_limits_are_exact() {
        let lines = |count: usize| "v=0".to_owned() + &"\na=x".repeat(count - 1);
        assert!(split(&lines(LINES_MAX)).is_ok());
        assert!(split(&lines(LINES_MAX + 1)).is_err());
        let sections = |count: usize| "v=0".to_owned() + &"\nm=x".repeat(count);
        assert!(split(&sections(SECTIONS_MAX)).is_ok());
        assert!(split(&sections(SECTIONS_MAX + 1)).is_err());
        let bytes = |count: usize| "v=0\ns=".to_owned() + &"x".repeat(count - 6);
        assert!(split(&bytes(BYTES_MAX)).is_ok());
        assert!(split(&bytes(BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn a_repeated_unique_attribute_is_refused() {
        let blocks = split("v=0\na=mid:1\na=mid:2").unwrap();
        assert_eq!(blocks.session.unique("mid").unwrap_err().line, Some(3));
    }
}
