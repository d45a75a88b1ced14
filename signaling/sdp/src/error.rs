//! The one error of this module: where the description is wrong and what to do about it.

use std::fmt;

/// Why a description was refused, in words for the developer of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SdpError {
    /// Line of the description, from 1; `None` when something is missing as a whole.
    pub line: Option<usize>,
    /// What is wrong and what to do.
    pub message: String,
}

impl SdpError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { line: None, message: message.into() }
    }

    pub(super) fn at(line: usize, message: impl Into<String>) -> Self {
        Self { line: Some(line), message: message.into() }
    }
}

impl fmt::Display for SdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "SDP line {line}: {}", self.message),
            None => write!(f, "SDP: {}", self.message),
        }
    }
}

impl std::error::Error for SdpError {}

/// Characters of foreign text that an error message repeats.
const QUOTE_CHARS: usize = 48;

/// Foreign text for an error message, cut so that the message stays readable.
pub(super) fn quote(text: &str) -> String {
    match text.char_indices().nth(QUOTE_CHARS) {
        Some((end, _)) => format!("\"{}…\"", &text[..end]),
        None => format!("\"{text}\""),
    }
}
