//! The rules of channels, without sockets.
#![allow(clippy::unwrap_used)]

use super::*;

/// Keeps what it is handed, as long as there is room.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<String>>);

const ROOM_FOR: usize = 3;

impl Deliver for Kept {
    fn deliver(&self, channel: &str, parcel: &Parcel) -> Delivery {
        let mut kept = self.0.lock().unwrap();
        if kept.len() == ROOM_FOR {
            return Delivery::Slow;
        }
        kept.push(format!("{channel} {}", parcel.message.as_ref().unwrap()));
        Delivery::Taken
    }
}

fn enter(channels: &Arc<Channels>, room: &str) -> (Membership, Arc<Kept>) {
    let kept = Arc::new(Kept::default());
    (channels.enter(room.into(), kept.clone()).unwrap(), kept)
}

fn say(from: &Membership, channel: &str, json: &str) -> Result<(), ChannelError> {
    let json: Box<RawValue> = serde_json::from_str(json).unwrap();
    from.send(channel, &json, Parcel::message)
}

#[test]
fn a_message_goes_to_the_others_of_its_channel_once() {
    let channels = Arc::new(Channels::default());
    let ((mut a, heard_a), (mut b, heard_b)) = (enter(&channels, ""), enter(&channels, ""));
    let ((mut c, heard_c), (mut d, heard_d)) = (enter(&channels, ""), enter(&channels, "other"));
    for (socket, channels) in
        [(&mut a, &["x"][..]), (&mut b, &["x", "x"]), (&mut c, &["y"]), (&mut d, &["x"])]
    {
        channels.iter().for_each(|channel| socket.open(channel).unwrap());
    }
    say(&a, "x", "{\"n\": 1.50}").unwrap();
    assert_eq!(*heard_b.0.lock().unwrap(), ["x {\"n\": 1.50}"], "as it was written, and once");
    for heard in [heard_a, heard_c, heard_d] {
        assert!(heard.0.lock().unwrap().is_empty(), "not its own, nor of another channel or room");
    }
    assert_eq!(say(&c, "x", "1"), Err(ChannelError::NotOpen));
    assert_eq!(channels.relayed(), 1);
}

#[test]
fn a_channel_is_there_as_long_as_somebody_is_in_it() {
    let channels = Arc::new(Channels::default());
    let ((mut a, _), (mut b, _)) = (enter(&channels, ""), enter(&channels, ""));
    assert_eq!(a.is_present("x"), Ok(false));
    a.open("x").unwrap();
    b.open("x").unwrap();
    drop(a);
    assert_eq!(b.is_present("x"), Ok(true));
    b.leave("x");
    assert_eq!((b.is_present("x"), channels.count(), channels.sockets()), (Ok(false), 0, 1));
    b.open("x").unwrap();
    b.open("y").unwrap();
    drop(b);
    assert_eq!((channels.count(), channels.sockets()), (0, 0));
}

#[test]
fn the_caps_hold_and_open_again_when_somebody_goes() {
    let channels = Arc::new(Channels::default());
    let mut crowd: Vec<Membership> = (0..MEMBERS_MAX).map(|_| enter(&channels, "").0).collect();
    crowd.iter_mut().for_each(|member| member.open("x").unwrap());
    let (mut late, _) = enter(&channels, "");
    assert_eq!(late.open("x"), Err(ChannelError::Full));
    crowd.pop();
    late.open("x").unwrap();
    for n in 1..CHANNELS_OF_SOCKET_MAX {
        late.open(&n.to_string()).unwrap();
    }
    assert_eq!(late.open("one more"), Err(ChannelError::TooManyChannels));
    late.leave("1");
    late.open("one more").unwrap();
    for name in ["", &"n".repeat(NAME_BYTES_MAX + 1)] {
        assert_eq!(late.open(name), Err(ChannelError::Name));
        assert_eq!(late.is_present(name), Err(ChannelError::Name));
    }
    let room = SOCKETS_MAX - channels.sockets();
    let mut all: Vec<Membership> = (0..room).map(|_| enter(&channels, "").0).collect();
    let one_more = || channels.enter("".into(), Arc::<Kept>::default()).map(drop);
    assert_eq!(one_more(), Err(ChannelError::TooManySockets));
    all.pop();
    assert_eq!(one_more(), Ok(()));
}

#[test]
fn who_has_no_room_for_a_message_is_counted_and_delays_nobody() {
    let channels = Arc::new(Channels::default());
    let ((mut a, _), (mut b, heard_b)) = (enter(&channels, ""), enter(&channels, ""));
    a.open("x").unwrap();
    b.open("x").unwrap();
    for _ in 0..ROOM_FOR + 2 {
        say(&a, "x", "1").unwrap();
    }
    assert_eq!(heard_b.0.lock().unwrap().len(), ROOM_FOR);
    assert_eq!((channels.relayed(), channels.slow_readers()), (ROOM_FOR as u64, 2));
}

#[test]
fn messages_are_read_as_pages_write_them() {
    use message::{Asked, Message};
    let name = |text| Message::decode(text).unwrap().0;
    assert_eq!(name(r#"{"open":true,"channel":"a b/é"}"#), "a b/é");
    assert_eq!(name(r#"{"open":true,"channel":12345,"userid":"x"}"#), "12345");
    assert_eq!(name(r#"{"open":true,"channel":-1}"#), "-1");
    let asked = |text| Message::decode(text).unwrap().1;
    assert!(matches!(asked(r#"{"checkPresence":true,"open":true,"channel":1}"#), Asked::Presence));
    assert!(matches!(asked(r#"{"open":true,"channel":1,"data":2}"#), Asked::Open));
    for data in ["null", "0", "\"\"", r#"{"a":[1, 2],"a":"\u0000"}"#] {
        let text = format!("{{\"data\":{data},\"open\":false,\"channel\":1}}");
        assert!(
            matches!(Message::decode(&text).unwrap().1, Asked::Say(said) if said.get() == data)
        );
    }
    let deep = format!(r#"{{"channel":1,"data":{}}}"#, "[".repeat(100_000));
    for (text, expected) in [
        ("", "EOF"),
        ("[]", "channel"),
        ("\"hello\"", "JSON object"),
        (r#"{"open":true}"#, "missing field `channel`"),
        (r#"{"open":1,"channel":"a"}"#, "expected a boolean"),
        (r#"{"open":true,"channel":1.5}"#, "whole number"),
        (r#"{"open":true,"channel":null}"#, "whole number"),
        (r#"{"open":true,"channel":"a","channel":"b"}"#, "duplicate field `channel`"),
        (r#"{"channel":"a"}"#, "needs data"),
        (r#"{"channel":"a","data":{}} x"#, "trailing"),
        // No stack overflow, that is.
        (deep.as_str(), "Not understood"),
    ] {
        let sentence = Message::decode(text).unwrap_err();
        assert!(sentence.contains(expected), "{text:.50}: {sentence}");
    }
}
