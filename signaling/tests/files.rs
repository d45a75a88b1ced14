//! `switchyard publish` and `switchyard play` as users run them: processes, against a server on real sockets.

use crate::harness::{PATIENCE, Server, keyed, open, viewer};
use matroska_demuxer::{Frame, MatroskaFile, TrackType};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Made with FFmpeg 5.1 of `-f lavfi -i testsrc2=size=160x120:rate=25:duration=2`, `-f lavfi -i sine=duration=2` and
/// `-g 25 -b:v 60k`: `-c:v libvpx -c:a libopus -b:a 16k -ac 2`; `-c:v libx264 -profile:v baseline -bf 0`, without SEI.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/streams");
/// Connecting, the files' next keyframe, and a whole round of the longest file, on a busy machine.
const RECORDED: Duration = Duration::from_secs(40);

/// A folder for the files of one test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn switchyard(arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchyard"));
    command.args(arguments).env_remove("SWITCHYARD_TOKEN");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Ctrl-C, and then the end of the command with what it said.
async fn interrupt(child: Child) -> (bool, String) {
    signal("INT", child.id());
    finish(child).await
}

async fn finish(child: Child) -> (bool, String) {
    let id = child.id();
    let ended = spawn_blocking(|| child.wait_with_output().unwrap());
    let Ok(ended) = timeout(PATIENCE, ended).await else {
        signal("KILL", id);
        panic!("a command does not end");
    };
    let Output { status, stderr, .. } = ended.unwrap();
    (status.success(), String::from_utf8(stderr).unwrap())
}

fn signal(name: &str, id: u32) {
    Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status().unwrap();
}

/// Publishes files in a loop and records until `is_enough`; both end by Ctrl-C, with success, and the server knows.
async fn through(server: &Server, files: &[&Path], out: &Path, is_enough: impl Fn(&Path) -> bool) {
    let url = server.url("/whip/room");
    let mut arguments = vec!["publish", "--loop", "--url", &url];
    arguments.extend(files.iter().map(|file| file.to_str().unwrap()));
    let publisher = switchyard(&arguments);
    let _ = fs::remove_file(out);
    let player = switchyard(&["play", &server.url("/whep/room"), "-o", out.to_str().unwrap()]);
    let recorded = async {
        while !is_enough(out) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let in_time = timeout(RECORDED, recorded).await.is_ok();
    let (played, published) = (interrupt(player).await, interrupt(publisher).await);
    assert!(in_time && played.0 && published.0, "{played:?} {published:?}");
    let viewed = server.send("POST /whep/room\nContent-Type: application/sdp", &viewer()).await;
    assert_eq!(viewed.status, 409, "the publisher has left: {viewed:?}");
}

/// What was recorded is what was sent, from somewhere on, again and again; returns from where.
fn assert_round<T: PartialEq + std::fmt::Debug>(sent: &[T], received: &[T]) -> usize {
    assert!(received.len() >= sent.len(), "only {} of {} frames", received.len(), sent.len());
    let start = sent.iter().position(|frame| frame == &received[0]).unwrap();
    for (index, frame) in received.iter().enumerate() {
        assert!(sent[(start + index) % sent.len()] == *frame, "frame {index} from {start}");
    }
    start
}

/// Twenty VP8 frames, as far as anything but a decoder looks: two keyframes of 320x240, bytes that differ, and sizes
/// from one packet to many.
fn vp8_frames() -> Vec<Vec<u8>> {
    let keyframe = [0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00];
    (0..20u32)
        .map(|number| {
            let head = if number % 10 == 0 { &keyframe[..] } else { &[0x11, 0x02, 0x00] };
            let rest = (0..number * 311 + 1).map(|byte| (byte * 7 + number * 13) as u8);
            head.iter().copied().chain(rest).collect()
        })
        .collect()
}

fn ivf(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = b"DKIF\0\0\x20\0VP80".to_vec();
    file.extend([0x40, 0x01, 0xf0, 0x00, 25, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for (time, frame) in (0u64..).zip(frames) {
        file.extend((frame.len() as u32).to_le_bytes());
        file.extend(time.to_le_bytes());
        file.extend(frame);
    }
    file
}

/// The whole frames of an IVF file with their times, which may still be written.
fn read_ivf(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let file = fs::read(path).unwrap_or_default();
    let mut rest = file.get(32..).unwrap_or_default();
    let mut frames = Vec::new();
    while let Some((head, tail)) = rest.split_first_chunk::<12>() {
        let size = u32::from_le_bytes(head[..4].try_into().unwrap()) as usize;
        let Some((frame, tail)) = tail.split_at_checked(size) else { break };
        frames.push((u64::from_le_bytes(head[4..].try_into().unwrap()), frame.to_vec()));
        rest = tail;
    }
    frames
}

/// Times in milliseconds and frames of both tracks of a Matroska file, which may still be written.
fn read_mkv(path: &Path) -> BTreeMap<&'static str, Vec<(u64, Vec<u8>)>> {
    let mut tracks = BTreeMap::from([("video", Vec::new()), ("audio", Vec::new())]);
    let Some(mut file) = File::open(path).ok().and_then(|file| MatroskaFile::open(file).ok())
    else {
        return tracks;
    };
    let video = file.tracks().iter().find(|track| track.track_type() == TrackType::Video);
    let video = video.map(|track| track.track_number().get());
    let mut frame = Frame::default();
    while file.next_frame(&mut frame).unwrap_or_default() {
        let kind = if Some(frame.track) == video { "video" } else { "audio" };
        tracks.get_mut(kind).unwrap().push((frame.timestamp, frame.data.clone()));
        frame.duration = None;
    }
    tracks
}

#[tokio::test(flavor = "multi_thread")]
async fn a_received_ivf_file_has_the_frames_of_the_published_one() {
    let (server, folder) = (open(), folder("ivf"));
    let (sent, received) = (folder.join("sent.ivf"), folder.join("received.ivf"));
    let frames = vp8_frames();
    fs::write(&sent, ivf(&frames)).unwrap();
    through(&server, &[&sent], &received, |out| read_ivf(out).len() > frames.len()).await;
    let (times, data): (Vec<u64>, Vec<Vec<u8>>) = read_ivf(&received).into_iter().unzip();
    let start = assert_round(&frames, &data);
    assert_eq!(start % 10, 0, "a file begins with a keyframe");
    // Who comes late catches up first: what followed the last keyframe is dated as live, so its steps are small.
    let steps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let live = steps.iter().rposition(|step| *step != 3600).map_or(0, |last| last + 1);
    assert!(
        live <= 11 && steps.len() - live >= 8,
        "25 a second after one group of pictures: {times:?}"
    );
    assert!(steps[..live].iter().all(|step| (1..3600).contains(step)), "{times:?}");
    let header = fs::read(&received).unwrap()[..32].to_vec();
    assert_eq!(header[8..16], *b"VP80\x40\x01\xf0\x00", "codec and size");
    assert_eq!(u32::from_le_bytes(header[24..28].try_into().unwrap()) as usize, data.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_and_picture_stay_in_step() {
    let (server, folder) = (open(), folder("mkv"));
    let (sent, received) = (Path::new(GOLDEN).join("vp8_opus.mkv"), folder.join("received.mkv"));
    let source = read_mkv(&sent);
    let is_enough = |out: &Path| {
        let tracks = read_mkv(out);
        tracks.iter().all(|(kind, frames)| frames.len() > source[kind].len())
    };
    through(&server, &[&sent], &received, is_enough).await;
    let recorded = read_mkv(&received);
    // Where each track ended, in the file that was sent and in the one that was received: where it began, a viewer that
    // caught up from the last keyframe has pictures which are dated as live.
    let ended = ["video", "audio"].map(|kind| {
        let (times, frames): (Vec<u64>, Vec<Vec<u8>>) = source[kind].iter().cloned().unzip();
        let data: Vec<Vec<u8>> = recorded[kind].iter().map(|(_, data)| data.clone()).collect();
        let last = (assert_round(&frames, &data) + data.len() - 1) % frames.len();
        (times[last] as i64, recorded[kind].last().unwrap().0 as i64)
    });
    let [(video_sent, video), (audio_sent, audio)] = ended;
    // The file is played in rounds of two seconds.
    let apart = ((audio - video) - (audio_sent - video_sent)).rem_euclid(2000);
    assert!(apart.min(2000 - apart) <= 40, "sound and picture are {apart} ms apart");
    let duration = MatroskaFile::open(File::open(&received).unwrap()).unwrap().info().duration();
    assert!(duration.unwrap() > 1900.0, "{duration:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_files_make_one_recording() {
    let (server, folder) = (open(), folder("two"));
    let (picture, received) = (Path::new(GOLDEN).join("h264.h264"), folder.join("received.mkv"));
    let sound = folder.join("sound.ogg");
    record_sound(&sound).await;
    let is_enough = |out: &Path| read_mkv(out).values().all(|frames| frames.len() > 40);
    through(&server, &[&picture, &sound], &received, is_enough).await;
    // With lengths where the raw stream has start codes.
    let sent = units(&fs::read(&picture).unwrap());
    let mut seen = BTreeSet::new();
    for (_, frame) in &read_mkv(&received)["video"] {
        let mut rest = &frame[..];
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let (unit, tail) = tail.split_at(u32::from_be_bytes(*length) as usize);
            assert!(sent.contains(unit), "a unit was changed");
            seen.insert(unit.to_vec());
            rest = tail;
        }
    }
    assert_eq!(seen.len(), sent.len(), "a unit is missing");
}

/// The units between the start codes of a raw stream.
fn units(stream: &[u8]) -> BTreeSet<Vec<u8>> {
    let starts: Vec<usize> =
        (3..stream.len()).filter(|&at| stream[at - 3..at] == [0, 0, 1]).collect();
    let ends = starts.iter().skip(1).map(|start| start - 3).chain([stream.len()]);
    let units = starts.iter().zip(ends).map(|(&start, end)| &stream[start..end]);
    units.map(|unit| unit.strip_suffix(&[0]).unwrap_or(unit).to_vec()).collect()
}

/// An .ogg file of the golden .mkv's sound, by publishing and recording it.
async fn record_sound(path: &Path) {
    let server = open();
    let sent = Path::new(GOLDEN).join("vp8_opus.mkv");
    let is_enough = |out: &Path| fs::metadata(out).is_ok_and(|found| found.len() > 10_000);
    through(&server, &[&sent], path, is_enough).await;
    let file = fs::read(path).unwrap();
    assert_eq!((&file[..4], &file[28..36]), (&b"OggS"[..], &b"OpusHead"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_ends_is_success() {
    let server = open();
    let file = Path::new(GOLDEN).join("vp8_opus.mkv");
    let url = server.url("/whip/room");
    let publisher = switchyard(&["publish", file.to_str().unwrap(), "--url", &url]);
    let (published, said) = finish(publisher).await;
    assert!(published && said.contains("VP8 50 frames"), "{said}");
}

/// A server whose answer fits nothing; returns the head of the second request.
async fn head_of_second_request(listener: TcpListener) -> String {
    let mut head = String::new();
    for _ in 0..2 {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        head.clear();
        while !head.ends_with("\r\n\r\n") {
            stream.read_line(&mut head).await.unwrap();
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).await.unwrap();
        let answer = "HTTP/1.1 201 Created\r\nContent-Type: application/sdp\r\nLocation: ../made/1\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!";
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
    head
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_is_deleted_even_when_it_fails() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/whip/room", listener.local_addr().unwrap());
    let second = tokio::spawn(head_of_second_request(listener));
    let file = Path::new(GOLDEN).join("h264.h264");
    let file = file.to_str().unwrap();
    let publisher = switchyard(&["publish", file, "--url", &url, "--token", "secret"]);
    let (succeeded, said) = finish(publisher).await;
    assert!(!succeeded && said.contains("answer"), "{said}");
    let head = timeout(PATIENCE, second).await.unwrap().unwrap();
    assert!(head.starts_with("DELETE /made/1 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: Bearer secret\r\n"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_to_do() {
    let (server, with_keys, folder) = (open(), keyed(), folder("refusals"));
    let file = folder.join("some.ivf");
    fs::write(&file, ivf(&vp8_frames())).unwrap();
    fs::write(folder.join("no.ivf"), "This is a text, and no film.").unwrap();
    let (file, no) = (file.to_str().unwrap(), folder.join("no.ivf"));
    let (out, no) = (folder.join("out.ivf"), no.to_str().unwrap());
    let out = out.to_str().unwrap();
    let (whip, whep) = (server.url("/whip/a"), server.url("/whep/a"));
    let (page, locked) = (server.url("/nothing/here"), with_keys.url("/whip/a"));
    for (arguments, expected) in [
        (vec!["publish", "/nowhere.ivf"], "cannot open /nowhere.ivf"),
        (vec!["publish", "film.mp4"], "cannot open film.mp4"),
        (vec!["publish", no, "--url", &whip], "it is no IVF file"),
        (vec!["publish", file, file, "--url", &whip], "publish one of each"),
        (vec!["publish", file, "--url", "127.0.0.1:8080"], "begins with http://"),
        (vec!["publish", file, "--url", "http://127.0.0.1:1/whip/a"], "does the server run"),
        (vec!["publish", file, "--url", &page], "no WHIP or WHEP address"),
        (vec!["publish", file, "--url", &whep], "takes no publishers"),
        (vec!["publish", file, "--url", &locked], "--token"),
        (vec!["publish", file, "--url", &locked, "--token", "x"], "does not take this token"),
        (vec!["play", &whep, "-o", "out.mp4"], "the extension says what is written"),
        (vec!["play", &whep, "-o", "/nowhere/out.ivf"], "cannot write /nowhere/out.ivf"),
        (vec!["play", "http://127.0.0.1:1/whep/a", "-o", out], "does the server run"),
    ] {
        let (succeeded, said) = finish(switchyard(&arguments)).await;
        assert!(!succeeded && said.contains(expected), "{arguments:?} said {said}");
    }
}
