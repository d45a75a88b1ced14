"""A participant on aiortc with one data channel, whose label is its topic: says one thing, and prints what it hears as {"said": text}."""

import argparse
import asyncio
import json
import sys

import websockets
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp

from media import say


async def request(socket, message):
    message["request"] = 1
    await socket.send(json.dumps(message))
    async for text in socket:
        answer = json.loads(text)
        if answer.get("request") == 1:
            return answer


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True, help="of the WebSocket")
    parser.add_argument("--room", required=True)
    args = parser.parse_args()
    connection = RTCPeerConnection()
    channel = connection.createDataChannel("chat")

    @channel.on("open")
    def _():
        channel.send("hello from aiortc")

    @channel.on("message")
    def _(message):
        say(said=message if isinstance(message, str) else message.decode())

    async with websockets.connect(args.url, max_size=2**20) as socket:
        join = {"type": "join", "version": 1, "room": args.room, "name": "aiortc", "max_audio": 0, "max_video": 0}
        welcome = await request(socket, join)
        await connection.setLocalDescription(await connection.createOffer())
        answer = await request(socket, {"type": "offer", "offer_id": 1, "sdp": connection.localDescription.sdp})
        await connection.setRemoteDescription(RTCSessionDescription(sdp=answer["sdp"], type="answer"))
        for line in answer["sdp"].splitlines():
            if line.startswith("a=candidate:"):
                candidate = candidate_from_sdp(line.removeprefix("a=candidate:"))
                candidate.sdpMid = "0"
                await connection.addIceCandidate(candidate)
        say(joined=welcome["participant"])
        reader = asyncio.ensure_future(drain(socket))
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        reader.cancel()
        await socket.send(json.dumps({"type": "leave"}))
    await connection.close()


async def drain(socket):
    async for _ in socket:
        pass


asyncio.run(main())
