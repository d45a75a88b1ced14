"""A participant without a browser, on aiortc or on libwebrtc (wrtc, whose aiortc face has the same names).

Publishes a picture and a tone like lib/synthetic.mjs, reads the others', and prints one JSON object per line:
{"joined": id}, {"seen": {...}}, {"heard": {...}}. Ends when its standard input does.
"""

import argparse
import asyncio
import fractions
import json
import sys
import time

import numpy
import websockets
from av import AudioFrame, VideoFrame

WIDTH, HEIGHT, FPS = 640, 360, 15
RATE, SAMPLES = 48_000, 960
DEADLINE_S = 20


def say(**event):
    print(json.dumps(event), flush=True)


class Library:
    """The names that both libraries share."""

    def __init__(self, name):
        if name == "aiortc":
            import aiortc
            from aiortc.mediastreams import MediaStreamError
        else:
            import webrtc.aiortc as aiortc
            from webrtc.aiortc.mediastreams import MediaStreamError
        self.ended = MediaStreamError
        # By default, aiortc leaves further video sections on a transport that it has closed.
        configuration = aiortc.RTCConfiguration(bundlePolicy=aiortc.RTCBundlePolicy.MAX_BUNDLE)
        self.connection = aiortc.RTCPeerConnection(configuration)
        self.description = aiortc.RTCSessionDescription
        self.track = aiortc.MediaStreamTrack
        self.name = name

    async def add_candidates(self, sdp):
        """A bundle's candidates are in its first section (RFC 8843 section 9.2); where sections share a transport, aiortc
        takes them from the last."""
        if self.name != "aiortc":
            return
        from aiortc.sdp import candidate_from_sdp

        for line in sdp.splitlines():
            if line.startswith("a=candidate:"):
                candidate = candidate_from_sdp(line.removeprefix("a=candidate:"))
                candidate.sdpMid = "0"
                await self.connection.addIceCandidate(candidate)


def draw(picture, index, counter):
    """RGB of the camera of participant `index`: its colour, and 16 bars below."""
    frame = numpy.empty((HEIGHT, WIDTH, 3), numpy.uint8)
    top = round(HEIGHT * (1 - picture["barHeight"]))
    frame[:top] = picture["colours"][index % len(picture["colours"])]
    bits = picture["bits"]
    value = index << (picture["counterBits"] + 2) | counter % (1 << picture["counterBits"])
    for bit in range(bits):
        light = 255 if value >> (bits - 1 - bit) & 1 else 0
        frame[top:, bit * WIDTH // bits : (bit + 1) * WIDTH // bits] = light
    return frame


def read(picture, frame):
    """What a picture shows, or None where the bars are neither black nor white."""
    height, width, _ = frame.shape
    bits = picture["bits"]
    value = 0
    y = round(height * (1 - picture["barHeight"] / 2))
    for bit in range(bits):
        x = round((bit + 0.5) * width / bits)
        light = frame[y - 3 : y + 3, x - 3 : x + 3].mean()
        if 90 < light < 165:
            return None
        value = value << 1 | int(light >= 165)
    colour = frame[round(height * 0.3) : round(height * 0.5), round(width * 0.4) : round(width * 0.6)].mean(axis=(0, 1))
    distances = [float(numpy.linalg.norm(colour - numpy.array(known))) for known in picture["colours"]]
    return {
        "index": value >> (picture["counterBits"] + 2),
        "counter": value & ((1 << picture["counterBits"]) - 1),
        "colour": int(numpy.argmin(distances)),
        "width": width,
        "height": height,
    }


def camera(library, picture, index):
    class Camera(library.track):
        kind = "video"

        def __init__(self):
            super().__init__()
            self.counter = 0
            self.start = time.monotonic()

        async def recv(self):
            self.counter += 1
            await asyncio.sleep(max(0, self.start + self.counter / FPS - time.monotonic()))
            frame = VideoFrame.from_ndarray(draw(picture, index, self.counter), format="rgb24")
            frame.pts = self.counter * (90_000 // FPS)
            frame.time_base = fractions.Fraction(1, 90_000)
            return frame

    return Camera()


def microphone(library, tone):
    class Microphone(library.track):
        kind = "audio"

        def __init__(self):
            super().__init__()
            self.sent = 0
            self.start = time.monotonic()

        async def recv(self):
            await asyncio.sleep(max(0, self.start + self.sent / RATE - time.monotonic()))
            times = (self.sent + numpy.arange(SAMPLES)) / RATE
            samples = (0.4 * 32767 * numpy.sin(2 * numpy.pi * tone * times)).astype(numpy.int16)
            frame = AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
            frame.sample_rate = RATE
            frame.pts = self.sent
            frame.time_base = fractions.Fraction(1, RATE)
            self.sent += SAMPLES
            return frame

    return Microphone()


async def until_ended(library, reading):
    """Reads a track for as long as there is one."""
    try:
        await reading
    except library.ended:
        pass


async def watch(track, picture):
    while True:
        frame = await track.recv()
        seen = read(picture, frame.to_ndarray(format="rgb24"))
        if seen:
            say(seen=seen)


async def listen(track):
    """The loudest frequency of each half second that is not silent."""
    heard = numpy.empty(0)
    while True:
        frame = await track.recv()
        channels = len(frame.layout.channels)
        samples = frame.to_ndarray().reshape(-1, channels)[:, 0] if not frame.format.is_planar else frame.to_ndarray()[0]
        heard = numpy.concatenate([heard, samples.astype(float)])
        if len(heard) < frame.sample_rate // 2:
            continue
        spectrum = numpy.abs(numpy.fft.rfft(heard * numpy.hanning(len(heard))))
        if spectrum.max() > 1e5:
            say(heard={"hertz": float(numpy.argmax(spectrum) * frame.sample_rate / len(heard))})
        heard = numpy.empty(0)


class Signaling:
    """Requests and answers by number; everything else is not for us."""

    def __init__(self, socket):
        self.socket = socket
        self.next_request = 1
        self.waiting = {}
        self.reader = asyncio.ensure_future(self.read())

    async def read(self):
        try:
            async for text in self.socket:
                message = json.loads(text)
                future = self.waiting.pop(message.get("request"), None)
                if future:
                    future.set_result(message)
        except websockets.ConnectionClosed:
            pass

    async def start(self, **message):
        """Sends a request; the returned future is its answer."""
        message["request"] = self.next_request
        self.next_request += 1
        future = asyncio.get_running_loop().create_future()
        self.waiting[message["request"]] = future
        await self.socket.send(json.dumps(message))
        return future

    async def request(self, **message):
        answer = await asyncio.wait_for(await self.start(**message), DEADLINE_S)
        if answer["type"] == "error":
            raise SystemExit(f"{message['type']} was refused: {answer['message']}")
        return answer


async def negotiate(library, signaling, welcome, tracks):
    connection = library.connection
    sending = [(source, connection.addTransceiver(track, direction="sendonly")) for source, track in tracks]
    for kind in ("audio", "video"):
        for _ in range(welcome["media_sections"][kind]):
            connection.addTransceiver(kind, direction="recvonly")
    # After the others: aiortc closes the one transport when it was made for the data channel.
    connection.createDataChannel("first")
    await connection.setLocalDescription(await connection.createOffer())
    published = [
        await signaling.start(type="publish", mid=transceiver.mid, source=source) for source, transceiver in sending
    ]
    answer = await signaling.request(type="offer", offer_id=1, sdp=connection.localDescription.sdp)
    await connection.setRemoteDescription(library.description(sdp=answer["sdp"], type="answer"))
    await library.add_candidates(answer["sdp"])
    await signaling.socket.send(json.dumps({"type": "ready", "offer_id": 1}))
    for future in published:
        answer = await asyncio.wait_for(future, DEADLINE_S)
        if answer["type"] != "published":
            raise SystemExit(f"publishing was refused: {answer}")


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--library", choices=["aiortc", "wrtc"], required=True)
    parser.add_argument("--url", required=True, help="of the WebSocket")
    parser.add_argument("--room", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--index", type=int, required=True)
    parser.add_argument("--tone", type=float, required=True)
    parser.add_argument("--picture", type=json.loads, required=True, help="PICTURE of lib/synthetic.mjs")
    args = parser.parse_args()
    library = Library(args.library)
    tasks = []

    @library.connection.on("track")
    def _(track):
        reading = watch(track, args.picture) if track.kind == "video" else listen(track)
        tasks.append(asyncio.ensure_future(until_ended(library, reading)))

    async with websockets.connect(args.url, max_size=2**20) as socket:
        signaling = Signaling(socket)
        welcome = await signaling.request(type="join", version=1, room=args.room, name=args.name)
        tracks = [("microphone", microphone(library, args.tone)), ("camera", camera(library, args.picture, args.index))]
        await negotiate(library, signaling, welcome, tracks)
        say(joined=welcome["participant"])
        loop = asyncio.get_running_loop()
        pinging = asyncio.ensure_future(ping(signaling))
        await loop.run_in_executor(None, sys.stdin.read)
        pinging.cancel()
        await socket.send(json.dumps({"type": "leave"}))
    await library.connection.close()


async def ping(signaling):
    while True:
        await asyncio.sleep(10)
        await signaling.start(type="ping", time=0)


asyncio.run(main())
