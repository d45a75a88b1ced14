//! Data between participants: who gets it, in which order, over which way, and what a slow reader costs whom.

mod world;

use sctp_proto::PayloadProtocolIdentifier as Kind;
use sfu_core::{
    Command, DataFault, DataMessage, DataSender, DropReason, Event, RouterId, TransportId,
};
use std::time::Duration;
use world::{Got, World};

const SOON: Duration = Duration::from_millis(100);
const RELIABLE: u16 = 0;
const LOSSY: u16 = 2;

/// `count` people in a room, by turns on each worker.
fn room(workers: usize, count: u64) -> World {
    let mut world = World::new(workers);
    for index in 0..count {
        world.join(1, &format!("p{index}"), index as usize % workers);
    }
    world.run(SOON);
    for number in 1..=count {
        world.peer(number).open_both();
    }
    world.run(SOON);
    world
}

fn frame(topic: &str, from: &str, payload: &[u8]) -> (String, String, Vec<u8>) {
    (topic.into(), from.into(), payload.into())
}

#[test]
fn a_message_reaches_everybody_else_on_all_workers_and_says_whose_it_is() {
    let mut world = room(2, 4);
    world.peer(1).publish(RELIABLE, "chat", &[], b"hello");
    world.peer(1).publish(LOSSY, "game", &[], b"left");
    world.run(SOON);
    for number in 2..=4 {
        let got = world.peer(number).take();
        let mut expected = [frame("chat", "p0", b"hello"), frame("game", "p0", b"left")];
        let mut sorted = got;
        sorted.sort();
        expected.sort();
        assert_eq!(sorted, expected, "{number}");
    }
    assert_eq!(world.peer(1).take(), []);
    assert!(world.events.iter().all(|event| !matches!(event, Event::Data { .. })));
}

#[test]
fn a_message_reaches_those_whom_it_names_and_nobody_in_another_room() {
    let mut world = room(2, 4);
    let stranger = world.join(2, "p3", 1);
    world.run(SOON);
    world.peer(stranger).open_both();
    world.run(SOON);
    world.peer(1).publish(RELIABLE, "chat", &["p3", "p1", "nobody"], b"psst");
    world.peer(stranger).publish(RELIABLE, "chat", &["p1"], b"hi from outside");
    world.run(SOON);
    let expected = [frame("chat", "p0", b"psst")];
    assert_eq!(world.peer(2).take(), expected);
    assert_eq!(world.peer(4).take(), expected);
    assert_eq!(world.peer(3).take(), []);
    assert_eq!(world.peer(stranger).take(), []);
}

#[test]
fn reliable_messages_keep_their_order_up_to_the_largest() {
    let mut world = room(2, 2);
    let lens = [1, 250_000, 3, 70_000, 0, 16_000];
    for (index, len) in lens.iter().enumerate() {
        world.peer(1).publish(RELIABLE, "file", &["p1"], &vec![index as u8; *len]);
    }
    world.run(Duration::from_secs(3));
    let got: Vec<_> = world.peer(2).take().into_iter().map(|(.., bytes)| bytes).collect();
    let expected: Vec<_> = lens.iter().enumerate().map(|(i, len)| vec![i as u8; *len]).collect();
    assert_eq!(got.iter().map(Vec::len).collect::<Vec<_>>(), lens);
    assert!(got == expected);
}

#[test]
fn a_channel_with_the_topics_name_gets_the_payload_alone() {
    let mut world = room(2, 3);
    world.peer(1).open(4, 0, "chat");
    world.peer(2).open(6, 0, "chat");
    world.run(SOON);
    world.peer(1).got.clear();
    world.peer(1).write(4, Kind::String, b"hello");
    world.run(SOON);
    let plain = Got { stream: 6, text: true, bytes: b"hello".to_vec() };
    assert_eq!(world.peer(2).got, [plain]);
    assert_eq!(world.peer(3).take(), [frame("chat", "p0", b"hello")]);
    world.peer(3).publish(RELIABLE, "chat", &[], b"back");
    world.run(SOON);
    let plain = Got { stream: 4, text: false, bytes: b"back".to_vec() };
    assert_eq!(world.peer(1).got, [plain]);
}

#[test]
fn who_may_not_publish_data_is_told_once_a_second_and_heard_by_nobody() {
    let mut world = room(1, 2);
    world.allow(1, false, None);
    for _ in 0..5 {
        world.peer(1).publish(RELIABLE, "chat", &[], b"hello");
    }
    world.run(SOON);
    assert_eq!(world.peer(2).take(), []);
    assert_eq!(world.engines[0].drops().get(DropReason::DataNotAllowed), 5);
    let refused = |event: &&Event| {
        matches!(
            event,
            Event::DataRefused { transport: TransportId(1), fault: DataFault::NotAllowed }
        )
    };
    assert_eq!(world.events.iter().filter(refused).count(), 1);
    world.allow(1, true, None);
    world.peer(1).publish(RELIABLE, "chat", &[], b"hello");
    world.run(SOON);
    assert_eq!(world.peer(2).take().len(), 1);
}

#[test]
fn only_wanted_topics_come() {
    let mut world = room(2, 3);
    world.allow(2, true, Some(&["game"]));
    world.peer(1).publish(RELIABLE, "chat", &[], b"hello");
    world.peer(1).publish(RELIABLE, "game", &["p1", "p2"], b"left");
    world.run(SOON);
    assert_eq!(world.peer(2).take(), [frame("game", "p0", b"left")]);
    assert_eq!(world.peer(3).take().len(), 2);
}

#[test]
fn who_has_no_channel_is_named_to_control() {
    let mut world = room(2, 2);
    let silent = world.join(1, "silent", 1);
    world.run(SOON);
    world.peer(1).publish(RELIABLE, "chat", &[], b"hello");
    world.run(SOON);
    let told: Vec<_> = world
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Data { recipients, others, message, .. } => {
                Some((recipients.clone(), *others, message.topic.clone(), message.sender.number))
            }
            _ => None,
        })
        .collect();
    assert_eq!(told, [(vec![TransportId(silent)], false, "chat".to_owned(), 1)]);
    let sender = DataSender { number: silent as u32, identity: "silent".into() };
    let message = DataMessage {
        sender,
        topic: "chat".into(),
        reliable: true,
        to: vec!["p0".into()],
        payload: "hi".into(),
        ..DataMessage::default()
    };
    for worker in 0..2 {
        let message = Box::new(message.clone());
        world.command(worker, Command::SendData { router: RouterId(1), message });
    }
    world.run(SOON);
    assert_eq!(world.peer(1).take(), [frame("chat", "silent", b"hi")]);
    assert_eq!(world.peer(2).take(), [frame("chat", "p0", b"hello")]);
}

/// How long each of a hundred messages takes to two others, in ms.
fn delays(world: &mut World) -> Vec<u32> {
    let delay = |sent: u8| {
        world.peer(1).publish(RELIABLE, "chat", &[], &[sent; 40_000]);
        let mut took = 0;
        while [3, 4].iter().any(|number| world.peer(*number).got.is_empty()) {
            world.run(Duration::from_millis(1));
            took += 1;
            assert!(took < 1000, "message {sent}");
        }
        world.run(Duration::from_millis(u64::from(300 - took.min(300))));
        assert_eq!((world.peer(3).take().len(), world.peer(4).take().len()), (1, 1));
        took
    };
    (0..100).map(delay).collect()
}

#[test]
fn a_slow_reader_of_what_all_get_is_closed_and_delays_nobody() {
    for workers in [1, 2] {
        let usual = delays(&mut room(workers, 4));
        let mut world = room(workers, 4);
        world.peer(2).reads = false;
        assert_eq!(delays(&mut world), usual, "{workers} workers");
        let slow = |event: &&Event| matches!(event, Event::DataSlowReader { transport: TransportId(2), label } if label == "reliable");
        assert_eq!(world.events.iter().filter(slow).count(), 1);
        // It reads on: what was underway comes, then the end of the channel.
        world.peer(2).reads = true;
        world.run(Duration::from_secs(70));
        assert!(!world.peer(2).has(RELIABLE) && world.peer(2).has(LOSSY));
        world.peer(2).take();
        world.peer(2).open(RELIABLE, 0, "reliable");
        world.run(SOON);
        world.peer(1).publish(RELIABLE, "chat", &[], b"again");
        world.run(SOON);
        assert_eq!(world.peer(2).take(), [frame("chat", "p0", b"again")]);
    }
}

#[test]
fn a_slow_channel_that_is_closed_costs_the_others_no_message() {
    let mut world = room(1, 2);
    world.peer(2).open(4, 0, "file");
    world.run(SOON);
    world.peer(2).reads = false;
    world.peer(2).got.clear();
    world.events.clear();
    for index in 0..30 {
        world.peer(1).publish(RELIABLE, "file", &[], &[index; 60_000]);
    }
    world.run(Duration::from_secs(5));
    let mut sent = Vec::new();
    while world.events.is_empty() {
        let index = sent.len() as u8;
        world.peer(1).publish(RELIABLE, "chat", &[], &[index; 60_000]);
        sent.push(frame("chat", "p0", &[index; 60_000]));
        world.run(3 * SOON);
        assert!(index < 40, "nothing was closed");
    }
    let [Event::DataSlowReader { label, .. }] = &world.events[..] else {
        panic!("{:?}", world.events)
    };
    assert_eq!(label, "file", "that of the first message that waits");
    world.peer(2).reads = true;
    world.run(Duration::from_secs(70));
    world.peer(2).got.retain(|got| got.stream == RELIABLE);
    let got = world.peer(2).take();
    assert!(got == sent, "{} of {} messages came", got.len(), sent.len());
}

#[test]
fn what_may_be_lost_costs_nobody_a_channel_where_all_arrives() {
    let mut world = room(1, 1);
    let plain = world.join(1, "plain", 0);
    world.run(SOON);
    world.peer(plain).open(RELIABLE, 0, "reliable");
    world.run(SOON);
    world.peer(plain).reads = false;
    for _ in 0..5000 {
        world.peer(1).publish(LOSSY, "game", &[], &[0; 1000]);
        world.run(Duration::from_millis(1));
    }
    assert!(world.engines[0].drops().get(DropReason::DataLate) > 3000);
    assert_eq!(world.engines[0].drops().get(DropReason::DataSlowReader), 0);
    world.peer(plain).reads = true;
    world.run(Duration::from_secs(20));
    assert!(world.peer(plain).take().len() > 500 && world.peer(plain).has(RELIABLE));
}

#[test]
fn what_all_get_passes_at_a_rate_and_the_rest_waits_with_its_sender() {
    let mut world = room(2, 3);
    for index in 0..40 {
        world.peer(1).publish(RELIABLE, "slides", &[], &[index; 60_000]);
    }
    world.run(Duration::from_secs(2));
    // 1 MiB, and 256 KiB a second.
    let passed = world.peer(2).take().len();
    assert!((24..=26).contains(&passed), "{passed} of 60 kB in two seconds");
    world.peer(2).publish(RELIABLE, "chat", &[], b"hello");
    world.run(SOON);
    assert_eq!(world.peer(1).take().len(), 1, "each has a rate of its own");
    world.run(Duration::from_secs(5));
    assert_eq!(passed + world.peer(2).take().len(), 40, "none is lost");
    for _ in 0..6000 {
        world.peer(3).publish(RELIABLE, "game", &[], b"left");
    }
    world.run(Duration::from_secs(1));
    let passed = world.peer(2).take().len();
    assert!((4900..5300).contains(&passed), "{passed} small ones in a second");
}

#[test]
fn what_is_too_long_for_a_peers_channel_goes_by_the_signaling() {
    let mut world = room(2, 2);
    let small = world.join_taking(65_536, 1, "small", 1);
    world.run(SOON);
    world.peer(small).open_both();
    world.peer(small).open(4, 0, "chat");
    world.run(SOON);
    world.events.clear();
    let told = |world: &mut World| -> Vec<_> {
        let told = world.events.drain(..).filter_map(|event| match event {
            Event::Data { recipients, message, .. } => Some((recipients, message.payload.len())),
            _ => None,
        });
        told.collect()
    };
    // With its header 65 536 bytes: topic, sender and 9 more.
    let most = 65_536 - 4 - 2 - 9;
    world.peer(1).publish(RELIABLE, "file", &[], &vec![1; most]);
    world.run(SOON);
    assert_eq!((world.peer(small).take().len(), told(&mut world)), (1, vec![]));
    world.peer(1).publish(RELIABLE, "file", &["small"], &vec![1; most + 1]);
    world.run(SOON);
    assert_eq!(told(&mut world), [(vec![TransportId(small)], most + 1)]);
    world.peer(1).publish(RELIABLE, "chat", &["small"], &[1; 65_536]);
    world.peer(1).publish(RELIABLE, "chat", &["small"], &[1; 65_537]);
    world.run(SOON);
    let got: Vec<_> = world.peer(small).got.drain(..).map(|got| got.bytes.len()).collect();
    assert_eq!((got, told(&mut world)), (vec![65_536], vec![(vec![TransportId(small)], 65_537)]));
    assert_eq!(world.engines[1].drops().get(DropReason::DataLate), 0);
}

#[test]
fn a_channel_of_a_topic_takes_what_the_answer_announces() {
    const LEN: usize = 256 * 1024;
    let mut world = room(1, 3);
    world.peer(1).open(4, 0, "scan");
    world.peer(2).open(4, 0, "scan");
    world.run(SOON);
    world.peer(2).got.clear();
    world.events.clear();
    world.peer(1).write(4, Kind::Binary, &vec![7; LEN]);
    world.run(Duration::from_secs(1));
    assert!(world.peer(2).got == [Got { stream: 4, text: false, bytes: vec![7; LEN] }]);
    let [Event::Data { recipients, message, .. }] = &world.events[..] else {
        panic!("{:?}", world.events.len())
    };
    assert_eq!((&recipients[..], message.payload.len()), (&[TransportId(3)][..], LEN));
}

#[test]
fn what_is_addressed_waits_for_its_recipient() {
    for workers in [1, 2] {
        let mut world = room(workers, 3);
        world.peer(2).reads = false;
        const LEN: usize = 60_000;
        for index in 0..80 {
            world.peer(1).publish(RELIABLE, "file", &["p1"], &[index; LEN]);
        }
        world.run(Duration::from_secs(5));
        let left = world.peer(1).association.stream(RELIABLE).unwrap().buffered_amount().unwrap();
        assert!(left > 50 * LEN, "{left} bytes are held back at the sender");
        world.peer(3).publish(RELIABLE, "chat", &["p0"], b"still here?");
        world.run(SOON);
        assert_eq!(world.peer(1).take().len(), 1, "others are not delayed");
        world.peer(2).reads = true;
        world.run(Duration::from_secs(30));
        let got = world.peer(2).take();
        let expected: Vec<_> = (0..80).map(|i| frame("file", "p0", &[i; LEN])).collect();
        assert!(got == expected, "{} messages came", got.len());
        assert!(world.events.iter().all(|event| !matches!(event, Event::DataSlowReader { .. })));
    }
}

#[test]
fn who_takes_nothing_for_ten_seconds_loses_the_channel_and_frees_the_sender() {
    let mut world = room(2, 3);
    world.peer(2).reads = false;
    for _ in 0..30 {
        world.peer(1).publish(RELIABLE, "file", &["p1"], &[1; 60_000]);
    }
    world.peer(1).publish(RELIABLE, "chat", &["p2"], b"after it");
    world.run(Duration::from_secs(8));
    assert_eq!(world.peer(3).take(), []);
    // A sender that was held back asks again when its timer says so, which was doubled each time.
    world.run(Duration::from_secs(12));
    assert_eq!(world.peer(3).take(), [frame("chat", "p0", b"after it")]);
    assert!(world.events.iter().any(|event| matches!(event, Event::DataSlowReader { .. })));
}

/// The second one reads a message of 6 kB each second.
fn trickle(world: &mut World, seconds: usize) {
    for _ in 0..seconds {
        world.run(Duration::from_secs(1));
        world.peer(2).read_one(RELIABLE);
    }
}

#[test]
fn who_takes_too_little_for_a_sender_who_waits_loses_the_channel() {
    for workers in [1, 2] {
        let mut world = room(workers, 3);
        world.peer(2).reads = false;
        for _ in 0..300 {
            world.peer(1).publish(RELIABLE, "file", &["p1"], &[1; 6000]);
        }
        world.peer(1).publish(RELIABLE, "chat", &["p2"], b"after it");
        trickle(&mut world, 30);
        assert_eq!(world.peer(3).take(), [frame("chat", "p0", b"after it")], "{workers} workers");
        let slow = |event: &&Event| matches!(event, Event::DataSlowReader { transport: TransportId(2), label } if label == "reliable");
        assert_eq!(world.events.iter().filter(slow).count(), 1);
    }
}

#[test]
fn who_takes_little_while_nobody_waits_keeps_the_channel() {
    let mut world = room(1, 2);
    world.peer(2).reads = false;
    for _ in 0..300 {
        world.peer(1).publish(RELIABLE, "slides", &[], &[1; 6000]);
    }
    trickle(&mut world, 45);
    assert!(world.events.iter().all(|event| !matches!(event, Event::DataSlowReader { .. })));
}

#[test]
fn lossy_messages_to_a_slow_reader_make_room_for_newer_ones() {
    let mut world = room(1, 3);
    world.peer(2).reads = false;
    for index in 0..9000_u16 {
        world.peer(1).publish(LOSSY, "game", &[], &[&index.to_be_bytes()[..], &[0; 98]].concat());
        world.run(Duration::from_millis(1));
    }
    assert!(world.peer(3).take().len() > 8900, "others are not delayed");
    assert!(world.engines[0].drops().get(DropReason::DataLate) > 500);
    assert!(world.peer(2).has(LOSSY));
}

#[test]
fn control_that_does_not_listen_holds_senders_back_and_loses_nothing() {
    let mut world = room(1, 2);
    world.join(1, "silent", 0);
    world.run(SOON);
    world.control = false;
    for index in 0..40 {
        world.peer(1).publish(RELIABLE, "chat", &[], &[index; 60_000]);
    }
    world.run(Duration::from_secs(2));
    let passed = world.peer(2).take().len();
    assert!((5..20).contains(&passed), "{passed} went on");
    world.control = true;
    world.run(Duration::from_secs(20));
    let told = world.events.iter().filter(|event| matches!(event, Event::Data { .. })).count();
    assert_eq!((told, passed + world.peer(2).take().len()), (40, 40));
}
