//! A day of a busy room, in virtual time: four people at a time, of whom one goes and another comes every few minutes.
//!
//! `HOURS=24 cargo test --profile perf -p switchyard-tests --test sim figure_05_a_day -- --ignored --nocapture`

use crate::lean::{Lean, Person, resident};
use crate::net::{MS, Micros, SECOND};
use sfu_core::transport::dtls::Certificate;

const PEOPLE: u64 = 4;
const TICK: Micros = 20 * MS;
const MINUTE: Micros = 60 * SECOND;
const HOUR: Micros = 60 * MINUTE;
/// One of them goes.
const CHANGE: Micros = 7 * MINUTE;

struct Day {
    room: Lean,
    people: Vec<Person>,
    number: u64,
    /// Media packets that went to those who left.
    delivered: u64,
    /// Packets that should have: of everybody who was connected to everybody else who was.
    expected: u64,
}

impl Day {
    fn new() -> Self {
        // Keys are handed in: there is no handshake that would read it.
        let none = Certificate { der: Vec::new(), private_key_pkcs8: Vec::new() };
        let (room, people) = (Lean::new(none), Vec::new());
        Self { room, people, number: 0, delivered: 0, expected: 0 }
    }

    fn change(&mut self) {
        if self.people.len() as u64 == PEOPLE {
            let gone = self.people.remove(0);
            self.delivered += self.room.sink.got[&gone.endpoint.address].media;
            self.room.leave(&gone);
        }
        self.number += 1;
        let person = self.room.join(self.number, PEOPLE - 1);
        self.people.push(person);
        for person in &self.people {
            let others = self.people.iter().map(|other| other.number);
            self.room.bind(person, others.filter(|other| *other != person.number));
        }
    }

    fn tick(&mut self, tick: u64) {
        let now = self.room.now;
        let mut connected = 0;
        for (index, person) in self.people.iter_mut().enumerate() {
            person.endpoint.wake(now);
            if person.endpoint.connected {
                connected += 1;
                person.speak(now);
                // 25 frames/s, not all in the same tick.
                if (tick + index as u64).is_multiple_of(2) {
                    person.show(now);
                    self.expected += PEOPLE - 1;
                }
                self.expected += PEOPLE - 1;
            }
            if (tick + index as u64).is_multiple_of(5) {
                self.room.feed_back(person);
            }
            self.room.send(person);
        }
        assert!(connected + 1 >= self.people.len(), "{connected} are connected at {now} µs");
        self.room.flush();
        self.room.advance(now + TICK);
    }

    fn hours(&mut self, hours: f64) {
        let end = self.room.now + (hours * HOUR as f64) as Micros;
        let mut tick = self.room.now / TICK;
        while self.room.now < end {
            if self.room.now.is_multiple_of(CHANGE) || (self.people.len() as u64) < PEOPLE {
                self.change();
            }
            self.tick(tick);
            tick += 1;
        }
    }

    fn delivered(&self) -> u64 {
        self.delivered + self.room.sink.got.values().map(|got| got.media).sum::<u64>()
    }

    /// Nobody was ended by the engine, and nearly everything that somebody sent went to everybody else: who has just come waits for a keyframe.
    fn check(&self) {
        assert_eq!(self.room.closed, 0, "nobody went without being told to");
        let share = self.delivered() as f64 / self.expected as f64;
        assert!(share > 0.97, "{share:.4} of what should have come");
        let [(_, transports), (_, producers), (_, consumers), ..] = self.room.engine.held();
        let people = PEOPLE as usize;
        assert_eq!([transports, producers, consumers], [people, 2 * people, 6 * people]);
    }
}

#[test]
fn figure_05_a_quarter_of_an_hour_of_a_busy_room() {
    let mut day = Day::new();
    day.hours(0.25);
    day.check();
}

#[test]
#[ignore = "minutes, and alone: it looks at the memory of the process"]
fn figure_05_a_day_of_a_busy_room() {
    let hours = std::env::var("HOURS").map_or(24.0, |hours| hours.parse().unwrap());
    let (mut day, start) = (Day::new(), std::time::Instant::now());
    let mut first = 0;
    let pieces = 12;
    for piece in 1..=pieces {
        day.hours(hours / f64::from(pieces));
        day.check();
        let now = resident();
        println!(
            "{:5.1} h  {:6.1} MiB  {} people so far  {} packets delivered of {}  {:.0} s",
            day.room.now as f64 / HOUR as f64,
            now as f64 / 1_048_576.0,
            day.number,
            day.delivered(),
            day.expected,
            start.elapsed().as_secs_f64()
        );
        if piece == 1 {
            first = now;
        }
    }
    let ratio = resident() as f64 / first as f64;
    assert!(ratio <= 1.02, "{ratio:.3} times as much memory as in the first hours");
}
