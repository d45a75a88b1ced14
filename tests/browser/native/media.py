"""Cameras, microphones, eyes and ears for aiortc and for libwebrtc (wrtc, whose aiortc face has the same names)."""

import asyncio
import fractions
import json
import time

import numpy
from av import AudioFrame, VideoFrame

from picture import draw, read

WIDTH, HEIGHT, FPS = 640, 360, 15
RATE, SAMPLES = 48_000, 960


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
        self.readings = []

    def read_tracks(self, picture):
        """Says what is seen and heard on every track that comes, for as long as there is one."""

        async def until_ended(reading):
            try:
                await reading
            except self.ended:
                pass

        @self.connection.on("track")
        def _(track):
            reading = watch(track, picture) if track.kind == "video" else listen(track)
            self.readings.append(asyncio.ensure_future(until_ended(reading)))

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
            rows = numpy.frombuffer(draw(picture, index, self.counter, WIDTH, HEIGHT), numpy.uint8)
            frame = VideoFrame.from_ndarray(rows.reshape(HEIGHT, WIDTH, 3), format="rgb24")
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


async def watch(track, picture):
    while True:
        frame = await track.recv()
        seen = read(picture, frame.to_ndarray(format="rgb24").tobytes(), frame.width, frame.height, 3 * frame.width)
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
