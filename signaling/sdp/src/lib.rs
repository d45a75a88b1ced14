//! The small, strict SDP subset of WebRTC: reads a JSEP offer and writes its answer (RFC 8866, RFC 9429, RFC 8843).
//!
//! Pure text and values: no sockets, no clock, no room state. It accepts what the clients that Switchyard is
//! tested with offer, and refuses everything else with the line and the remedy. Only the `signaling` crate
//! uses it; [`NegotiatedSection`] is where SDP turns into `sfu::params` values.

mod answer;
mod candidate;
mod codec;
mod counter_offer;
mod encodings;
mod error;
mod extension;
mod formats;
mod fragment;
mod lines;
mod negotiate;
mod offer;
mod section;
#[cfg(test)]
mod tests;
mod transport;

pub use answer::{LocalDescription, SectionPlan, Slot, write_answer, write_counter_offer};
pub use candidate::{Candidate, parse_candidate};
pub use codec::{CodecSpec, H264Profile};
pub use counter_offer::wanted_offer;
pub use error::SdpError;
pub use extension::OfferedExtension;
pub use formats::OfferedCodec;
pub use fragment::{
    FRAGMENT_BYTES_MAX, FragmentFrame, IceFragment, parse_ice_fragment, write_ice_fragment,
};
pub use negotiate::{NegotiatedCodec, NegotiatedSection, payload_mappings};
pub use offer::{Offer, parse_offer};
pub use section::{Direction, Section, SectionKind};
pub use transport::Setup;
