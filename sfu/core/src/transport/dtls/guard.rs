//! Decides which received bytes the DTLS library may see, and in what shape.
//!
//! Owns the limits, the reassembly and the plaintext record numbers. Never decrypts.
//! Plaintext records can come from anyone who spoofs the peer's address, so none of them can end a finished handshake,
//! and none of them is stored without a limit.

use std::time::{Duration, Instant};

use super::reassembly::{Message, Reassembly};
use super::record::{self, Fragment, Fragments, Record, Records};
use crate::params::DtlsRole;

/// Handshake records of one handshake, plaintext and encrypted. A clean one has about ten; GStreamer cuts at 256 bytes.
const HANDSHAKE_RECORDS_MAX: u32 = 256;
/// Encrypted handshake records, before and again after completion. A clean handshake has one: Finished.
const ENCRYPTED_HANDSHAKE_RECORDS_MAX: u32 = 32;
/// Length of an encrypted handshake record in bytes: Finished with any cipher is below 128. Keeps the number of
/// fragments inside small, because the library's fragment buffer is quadratic and recursive in it.
const ENCRYPTED_HANDSHAKE_LEN_MAX: usize = 256;
/// Repeated encrypted Finished per second after completion; the library answers each with our last flight.
const LATE_HANDSHAKE_RECORDS_PER_SECOND: u32 = 8;
/// ChangeCipherSpec records of one handshake.
const CHANGE_CIPHER_SPECS_MAX: u32 = 32;
/// Bytes of encrypted data and alerts before completion: the library queues them until it has keys.
const EARLY_LEN_MAX: usize = 64 * 1024;
/// Answers to repeats of the first ClientHello.
const HELLO_REPEATS_MAX: u32 = 16;

/// What a datagram came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Admitted {
    /// Records for the library, as one datagram. Empty: nothing.
    pub(super) records: Vec<u8>,
    /// The first ClientHello, without its handshake header, when this datagram completed it.
    pub(super) client_hello: Option<Vec<u8>>,
    /// Description of a fatal plaintext alert.
    pub(super) alert: Option<u8>,
}

/// One handshake's limits and incomplete messages.
pub(super) struct Guard {
    role: DtlsRole,
    completed: bool,
    reassembly: Reassembly,
    record_sequence: u32,
    handshake_records: u32,
    encrypted_handshake_records: u32,
    change_cipher_specs: u32,
    early_len: usize,
    hello_repeats: u32,
    late_second: Option<Instant>,
    late_records: u32,
}

impl Guard {
    pub(super) fn new(role: DtlsRole) -> Self {
        Self {
            role,
            completed: false,
            reassembly: Reassembly::default(),
            record_sequence: 0,
            handshake_records: 0,
            encrypted_handshake_records: 0,
            change_cipher_specs: 0,
            early_len: 0,
            hello_repeats: 0,
            late_second: None,
            late_records: 0,
        }
    }

    /// The handshake is finished: from now on only encrypted records count.
    pub(super) fn complete(&mut self) {
        self.completed = true;
        self.reassembly = Reassembly::default();
        self.encrypted_handshake_records = 0;
    }

    /// Filters one datagram. `Err` names the limit that ends the handshake; a finished one never ends here.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        datagram: &[u8],
    ) -> Result<Admitted, &'static str> {
        let mut admitted = Admitted::default();
        for record in Records(datagram) {
            if self.completed {
                self.admit_late(now, &record, &mut admitted);
            } else {
                self.admit_early(&record, &mut admitted)?;
            }
        }
        Ok(admitted)
    }

    fn admit_late(&mut self, now: Instant, record: &Record<'_>, out: &mut Admitted) {
        let pass = record.epoch == 1
            && match record.content_type {
                record::ALERT | record::APPLICATION_DATA => true,
                record::HANDSHAKE => self.admit_repeated_finished(now, record),
                _ => false,
            };
        // The library takes a record without a body for a malformed datagram.
        if pass && !record.body.is_empty() {
            out.records.extend_from_slice(record.bytes);
        }
    }

    /// A client repeats Finished when our last flight was lost (RFC 6347 section 4.2.4). A server never has to.
    fn admit_repeated_finished(&mut self, now: Instant, record: &Record<'_>) -> bool {
        let second_is_over = self
            .late_second
            .is_none_or(|start| now.saturating_duration_since(start) >= Duration::from_secs(1));
        if second_is_over {
            self.late_second = Some(now);
            self.late_records = 0;
        }
        self.late_records = self.late_records.saturating_add(1);
        self.role == DtlsRole::Server
            && self.late_records <= LATE_HANDSHAKE_RECORDS_PER_SECOND
            && self.admit_encrypted_handshake(record)
    }

    fn admit_encrypted_handshake(&mut self, record: &Record<'_>) -> bool {
        self.encrypted_handshake_records = self.encrypted_handshake_records.saturating_add(1);
        self.encrypted_handshake_records <= ENCRYPTED_HANDSHAKE_RECORDS_MAX
            && record.body.len() <= ENCRYPTED_HANDSHAKE_LEN_MAX
    }

    fn admit_early(&mut self, record: &Record<'_>, out: &mut Admitted) -> Result<(), &'static str> {
        if record.content_type == record::HANDSHAKE {
            self.handshake_records += 1;
            if self.handshake_records > HANDSHAKE_RECORDS_MAX {
                return Err("handshake records");
            }
        }
        match (record.epoch, record.content_type) {
            (0, record::HANDSHAKE) => self.admit_fragments(record.body, out),
            (0, record::ALERT) => {
                if let [2, description] = *record.body {
                    out.alert = Some(description);
                }
            }
            (0, record::CHANGE_CIPHER_SPEC) => self.admit_change_cipher_spec(record.body, out),
            (1, _) => self.admit_encrypted_early(record, out),
            _ => {}
        }
        Ok(())
    }

    fn admit_fragments(&mut self, body: &[u8], out: &mut Admitted) {
        for fragment in Fragments(body) {
            if self.is_repeated_hello(&fragment) {
                self.write_reminder(&mut out.records);
            } else if self.may_send(&fragment) {
                self.reassembly.insert(&fragment);
            }
            while let Some(message) = self.reassembly.pop() {
                self.write_message(&message, &mut out.records);
                if message.sequence == 0 && message.message_type == record::CLIENT_HELLO {
                    out.client_hello = Some(message.body);
                }
            }
        }
    }

    /// Messages that the peer sends in the clear, and HelloRequest not among them: renegotiation is not spoken.
    fn may_send(&self, fragment: &Fragment<'_>) -> bool {
        let message_type = fragment.message_type;
        match self.role {
            DtlsRole::Server if fragment.sequence == 0 => message_type == record::CLIENT_HELLO,
            DtlsRole::Server => matches!(
                message_type,
                record::CLIENT_HELLO
                    | record::CERTIFICATE
                    | record::CLIENT_KEY_EXCHANGE
                    | record::CERTIFICATE_VERIFY
            ),
            DtlsRole::Client => matches!(
                message_type,
                record::HELLO_VERIFY_REQUEST
                    | record::SERVER_HELLO
                    | record::CERTIFICATE
                    | record::SERVER_KEY_EXCHANGE
                    | record::CERTIFICATE_REQUEST
                    | record::SERVER_HELLO_DONE
            ),
        }
    }

    /// The first ClientHello again, nothing after it: our HelloVerifyRequest was lost, and the library repeats that one
    /// flight only when asked. It repeats every other by its timer, which any repeated message would stop.
    fn is_repeated_hello(&mut self, fragment: &Fragment<'_>) -> bool {
        let repeated = self.role == DtlsRole::Server
            && self.reassembly.next_sequence() == 1
            && fragment.sequence == 0
            && fragment.message_type == record::CLIENT_HELLO
            && fragment.offset == 0
            && self.hello_repeats < HELLO_REPEATS_MAX;
        if repeated {
            self.hello_repeats += 1;
        }
        repeated
    }

    /// The library asks no more than that a handshake record came, and stores it for good: so it gets an empty one.
    fn write_reminder(&mut self, out: &mut Vec<u8>) {
        let fragment = Fragment {
            message_type: record::CLIENT_HELLO,
            length: 0,
            sequence: 0,
            offset: 0,
            data: &[],
        };
        record::write_handshake(out, self.next_record_sequence(), fragment);
    }

    fn write_message(&mut self, message: &Message, out: &mut Vec<u8>) {
        let fragment = Fragment {
            message_type: message.message_type,
            length: message.body.len(),
            sequence: message.sequence,
            offset: 0,
            data: &message.body,
        };
        record::write_handshake(out, self.next_record_sequence(), fragment);
    }

    fn admit_change_cipher_spec(&mut self, body: &[u8], out: &mut Admitted) {
        if body != [1] || !self.has_begun() {
            return;
        }
        self.change_cipher_specs = self.change_cipher_specs.saturating_add(1);
        if self.change_cipher_specs <= CHANGE_CIPHER_SPECS_MAX {
            let sequence = self.next_record_sequence();
            record::write_record_header(&mut out.records, record::CHANGE_CIPHER_SPEC, sequence, 1);
            out.records.push(1);
        }
    }

    fn admit_encrypted_early(&mut self, record: &Record<'_>, out: &mut Admitted) {
        if record.body.is_empty() || !self.has_begun() {
            return;
        }
        let pass = match record.content_type {
            // Has a limit of its own, so that no flood of data takes Finished its place.
            record::HANDSHAKE => self.admit_encrypted_handshake(record),
            record::ALERT | record::APPLICATION_DATA => {
                self.early_len = self.early_len.saturating_add(record.bytes.len());
                self.early_len <= EARLY_LEN_MAX
            }
            _ => false,
        };
        if pass {
            out.records.extend_from_slice(record.bytes);
        }
    }

    /// Before the peer's first message there is no association that could own a record.
    fn has_begun(&self) -> bool {
        self.reassembly.next_sequence() > 0
    }

    /// Plaintext records are numbered anew, because one admitted record may come from many.
    fn next_record_sequence(&mut self) -> u32 {
        let sequence = self.record_sequence;
        self.record_sequence = self.record_sequence.wrapping_add(1);
        sequence
    }
}
