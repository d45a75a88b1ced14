"""GStreamer's webrtcbin, publishing by WHIP or watching by WHEP; for the system's Python, which has its bindings.

Publishes a picture and a tone like lib/synthetic.mjs, or reads what comes, and prints one JSON object per line:
{"session": address}, {"seen": {...}}, {"heard": {...}}. Ends when its standard input does.
"""

import argparse
import array
import json
import os
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC

import whip
from picture import draw, read

WIDTH, HEIGHT, FPS = 640, 360, 15
RATE = 48_000
ENCODER = "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=600 target-bitrate=500000 ! rtpvp8pay picture-id-mode=15-bit"
DECODERS = {
    "VP8": "rtpvp8depay request-keyframe=true wait-for-keyframe=true ! vp8dec",
    "H264": "rtph264depay request-keyframe=true wait-for-keyframe=true ! h264parse ! openh264dec",
    "H265": "rtph265depay ! h265parse ! libde265dec",
    "OPUS": "rtpopusdepay ! opusdec",
}
CAPS = {
    "OPUS": "application/x-rtp,media=audio,encoding-name=OPUS,clock-rate=48000,encoding-params=(string)2,payload=97",
    "VP8": "application/x-rtp,media=video,encoding-name=VP8,clock-rate=90000,payload=96",
    "H264": "application/x-rtp,media=video,encoding-name=H264,clock-rate=90000,payload=96,"
    "packetization-mode=(string)1,profile-level-id=(string)42e01f",
    "H265": "application/x-rtp,media=video,encoding-name=H265,clock-rate=90000,payload=96",
}


def say(**event):
    # In one piece: sound and picture come on threads of their own.
    os.write(sys.stdout.fileno(), f"{json.dumps(event)}\n".encode())


class Client:
    def __init__(self, args, pipeline):
        self.args = args
        self.pipeline = pipeline
        self.webrtc = self.pipeline.get_by_name("webrtc")
        self.session = None
        self.webrtc.connect("notify::ice-gathering-state", self.on_gathering)
        self.loop = GLib.MainLoop()
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self.on_error)

    def on_error(self, _, message):
        sys.stderr.write(f"{message.parse_error()}\n")
        self.loop.quit()

    def on_offer(self, promise):
        # Named, because the offer dies with the last reference to what holds it.
        reply = promise.get_reply()
        self.webrtc.emit("set-local-description", reply.get_value("offer"), None)

    def on_gathering(self, *_):
        complete = GstWebRTC.WebRTCICEGatheringState.COMPLETE
        if self.webrtc.props.ice_gathering_state == complete:
            threading.Thread(target=self.post, daemon=True).start()

    def post(self):
        offer = self.webrtc.props.local_description.sdp.as_text()
        self.session, answer = whip.post(self.args.url, offer)
        _, sdp = GstSdp.SDPMessage.new_from_text(answer)
        answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
        self.webrtc.emit("set-remote-description", answer, None)
        say(session=self.session)

    def run(self):
        threading.Thread(target=lambda: (sys.stdin.read(), self.loop.quit()), daemon=True).start()
        self.pipeline.set_state(Gst.State.PLAYING)
        self.webrtc.emit("create-offer", None, Gst.Promise.new_with_change_func(self.on_offer))
        self.loop.run()
        if self.session:
            whip.delete(self.session)
        self.pipeline.set_state(Gst.State.NULL)


def publisher(args):
    picture = f"video/x-raw,format=RGB,width={WIDTH},height={HEIGHT},framerate={FPS}/1"
    description = (
        "webrtcbin name=webrtc bundle-policy=max-bundle "
        f"appsrc name=camera is-live=true do-timestamp=true format=time caps={picture} ! videoconvert ! {ENCODER} "
        f"! {CAPS['VP8']} ! webrtc. "
        f"audiotestsrc is-live=true freq={args.tone} volume=0.4 ! opusenc ! rtpopuspay "
        f"! {CAPS['OPUS']} ! webrtc."
    )
    client = Client(args, Gst.parse_launch(description))
    for index in range(2):
        transceiver = client.webrtc.emit("get-transceiver", index)
        transceiver.props.direction = GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY
    camera = client.pipeline.get_by_name("camera")
    counter = 0

    def push():
        nonlocal counter
        counter += 1
        data = draw(args.picture, args.index, counter, WIDTH, HEIGHT)
        camera.emit("push-buffer", Gst.Buffer.new_wrapped(data))
        return True

    GLib.timeout_add(1000 // FPS, push)
    return client


def viewer(args):
    pipeline = Gst.Pipeline()
    webrtc = Gst.ElementFactory.make("webrtcbin", "webrtc")
    webrtc.set_property("bundle-policy", "max-bundle")
    pipeline.add(webrtc)
    client = Client(args, pipeline)
    receive = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
    for codec in ("OPUS", args.codec):
        client.webrtc.emit("add-transceiver", receive, Gst.Caps.from_string(CAPS[codec]))
    client.webrtc.connect("pad-added", lambda _, pad: receive_from(client, pad))
    return client


def receive_from(client, pad):
    codec = pad.get_current_caps().get_structure(0).get_string("encoding-name")
    if codec == "OPUS":
        rest, handle = f"audioconvert ! audioresample ! audio/x-raw,format=S16LE,rate={RATE},channels=1", Ears().listen
    else:
        rest, handle = "videoconvert ! video/x-raw,format=RGB", lambda sample: look(client.args.picture, sample)
    bin = Gst.parse_bin_from_description(f"{DECODERS[codec]} ! {rest} ! appsink name=out emit-signals=true sync=false", True)
    sink = bin.get_by_name("out")
    sink.connect("new-sample", lambda _: (handle(sink.emit("pull-sample")), Gst.FlowReturn.OK)[1])
    client.pipeline.add(bin)
    bin.sync_state_with_parent()
    pad.link(bin.get_static_pad("sink"))


def look(picture, sample):
    structure = sample.get_caps().get_structure(0)
    width, height = structure.get_int("width").value, structure.get_int("height").value
    data = sample.get_buffer().extract_dup(0, sample.get_buffer().get_size())
    seen = read(picture, data, width, height, len(data) // height)
    if seen:
        say(seen=seen)


class Ears:
    """The frequency of each half second that is not silent, by the zeros that a lone tone crosses upwards."""

    def __init__(self):
        self.heard = array.array("h")

    def listen(self, sample):
        self.heard.frombytes(sample.get_buffer().extract_dup(0, sample.get_buffer().get_size()))
        if len(self.heard) < RATE // 2:
            return
        crossings = sum(1 for before, now in zip(self.heard, self.heard[1:]) if before < 0 <= now)
        if max(self.heard) > 1000:
            say(heard={"hertz": crossings * RATE / len(self.heard)})
        self.heard = array.array("h")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("do", choices=["publish", "view"])
    parser.add_argument("--url", required=True, help="of the WHIP or WHEP endpoint")
    parser.add_argument("--codec", choices=sorted(DECODERS), help="of the picture to view")
    parser.add_argument("--index", type=int, help="of the participant to publish as")
    parser.add_argument("--tone", type=float, help="to publish, in hertz")
    parser.add_argument("--picture", type=json.loads, required=True, help="PICTURE of lib/synthetic.mjs")
    args = parser.parse_args()
    Gst.init(None)
    (publisher if args.do == "publish" else viewer)(args).run()


main()
