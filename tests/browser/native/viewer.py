"""A WHEP viewer without a browser, on aiortc or on libwebrtc.

Reads a picture and a tone like those of lib/synthetic.mjs, and prints one JSON object per line:
{"session": address}, {"seen": {...}}, {"heard": {...}}. Ends when its standard input does.
"""

import argparse
import asyncio
import json
import sys

import whip
from media import Library, say


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--library", choices=["aiortc", "wrtc"], required=True)
    parser.add_argument("--url", required=True, help="of the WHEP endpoint")
    parser.add_argument("--picture", type=json.loads, required=True, help="PICTURE of lib/synthetic.mjs")
    args = parser.parse_args()
    library = Library(args.library)
    library.read_tracks(args.picture)
    connection = library.connection
    for kind in ("audio", "video"):
        connection.addTransceiver(kind, direction="recvonly")
    await connection.setLocalDescription(await connection.createOffer())
    loop = asyncio.get_running_loop()
    session, answer = await loop.run_in_executor(None, whip.post, args.url, connection.localDescription.sdp)
    await connection.setRemoteDescription(library.description(sdp=answer, type="answer"))
    await library.add_candidates(answer)
    say(session=session)
    await loop.run_in_executor(None, sys.stdin.read)
    await loop.run_in_executor(None, whip.delete, session)
    await connection.close()


asyncio.run(main())
