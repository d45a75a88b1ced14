"""The HTTP side of WHIP and WHEP, which is the same."""

import urllib.error
import urllib.parse
import urllib.request


def post(url, offer):
    """Makes a session; returns its address and the answer."""
    request = urllib.request.Request(url, offer.encode(), {"content-type": "application/sdp"})
    try:
        with urllib.request.urlopen(request) as response:
            return urllib.parse.urljoin(url, response.headers["location"]), response.read().decode()
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{error.code} {error.read().decode()}\nto the offer\n{offer}") from error


def delete(session):
    urllib.request.urlopen(urllib.request.Request(session, method="DELETE")).close()
