"""A participant without a browser, on aiortc or on libwebrtc.

Publishes a picture and a tone like lib/synthetic.mjs, reads the others', and prints one JSON object per line:
{"joined": id}, {"seen": {...}}, {"heard": {...}}. Ends when its standard input does.
"""

import argparse
import asyncio
import json
import sys

import websockets

from media import Library, camera, microphone, say

DEADLINE_S = 20


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
    library.read_tracks(args.picture)
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
