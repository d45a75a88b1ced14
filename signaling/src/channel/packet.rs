//! Socket.IO packets as text, which are the same in all versions that we speak: a digit for the kind, a namespace, JSON.

use std::fmt::Display;

/// The version of the Socket.IO protocol, as far as packets differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Clients 1.x and 2.x.
    Old,
    /// Clients 3.x and 4.x.
    New,
}

/// What a client sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    Connect {
        namespace: &'a str,
    },
    Disconnect {
        namespace: &'a str,
    },
    /// A JSON array of the event's name and its arguments.
    Event {
        namespace: &'a str,
        json: &'a str,
    },
}

impl<'a> Packet<'a> {
    /// Reads a packet; `None`: it is none, or of a kind that the relay has no use for.
    pub(super) fn decode(text: &'a str) -> Option<Self> {
        let (kind, rest) = text.split_at_checked(1)?;
        let (namespace, rest) = match rest.starts_with('/') {
            true => rest.split_once(',').unwrap_or((rest, "")),
            false => ("/", rest),
        };
        // Old clients put the query of their address behind the namespace.
        let namespace = namespace.split('?').next()?;
        match kind {
            "0" => Some(Self::Connect { namespace }),
            "1" => Some(Self::Disconnect { namespace }),
            // The number in front of the JSON asks for an acknowledgement, which this protocol does not have.
            "2" => Some(Self::Event {
                namespace,
                json: rest.trim_start_matches(|c: char| c.is_ascii_digit()),
            }),
            _ => None,
        }
    }
}

/// The namespace is connected.
pub(super) fn connected(version: Version, namespace: &str, socket: impl Display) -> String {
    match version {
        Version::Old => format!("0{}", prefix(namespace)),
        Version::New => format!("0{}{{\"sid\":\"{socket}\"}}", prefix(namespace)),
    }
}

/// The namespace is not connected.
pub(super) fn refused(version: Version, namespace: &str, sentence: &str) -> String {
    let sentence = serde_json::Value::from(sentence);
    match version {
        Version::Old => format!("4{}{sentence}", prefix(namespace)),
        Version::New => format!("4{}{{\"message\":{sentence}}}", prefix(namespace)),
    }
}

/// An event with one argument, which is JSON.
pub(super) fn event(namespace: &str, name: &str, json: impl Display) -> String {
    format!("2{}[\"{name}\",{json}]", prefix(namespace))
}

fn prefix(namespace: &str) -> String {
    if namespace == "/" { String::new() } else { format!("{namespace},") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_clients_send_is_read() {
        let event = |namespace, json| Some(Packet::Event { namespace, json });
        for (text, expected) in [
            ("0", Some(Packet::Connect { namespace: "/" })),
            ("0{\"token\":\"a\"}", Some(Packet::Connect { namespace: "/" })),
            ("0/den,", Some(Packet::Connect { namespace: "/den" })),
            ("0/den", Some(Packet::Connect { namespace: "/den" })),
            ("0/den?token=a/b&c=d", Some(Packet::Connect { namespace: "/den" })),
            ("0/den,{\"a\":\"/b,c\"}", Some(Packet::Connect { namespace: "/den" })),
            ("1/den,", Some(Packet::Disconnect { namespace: "/den" })),
            ("2[\"presence\",\"den\"]", event("/", "[\"presence\",\"den\"]")),
            ("2/den,[\"message\",{}]", event("/den", "[\"message\",{}]")),
            ("2/den,17[\"message\",{}]", event("/den", "[\"message\",{}]")),
            ("51-[\"message\",{\"_placeholder\":true,\"num\":0}]", None),
            ("", None),
            ("9", None),
            ("é", None),
        ] {
            assert_eq!(Packet::decode(text), expected, "{text}");
        }
    }
}
