"""The picture of lib/synthetic.mjs, drawn and read with nothing but the standard library: bytes of RGB, three for each pixel."""


def draw(picture, index, counter, width, height):
    """The camera of participant `index`: its colour, and below it 16 bars that say whose it is and which frame."""
    top = round(height * (1 - picture["barHeight"]))
    colour = bytes(picture["colours"][index % len(picture["colours"])])
    bits = picture["bits"]
    value = index << (picture["counterBits"] + 2) | counter % (1 << picture["counterBits"])
    bars = b""
    for bit in range(bits):
        light = b"\xff" if value >> (bits - 1 - bit) & 1 else b"\x00"
        bars += light * 3 * ((bit + 1) * width // bits - bit * width // bits)
    return colour * width * top + bars * (height - top)


def read(picture, data, width, height, stride):
    """What a picture shows, or None where the bars are neither black nor white. `stride`: bytes from one row to the next."""

    def mean(x, y, w, h):
        rows = (data[row * stride + 3 * x : row * stride + 3 * (x + w)] for row in range(y, y + h))
        pixels = b"".join(bytes(row) for row in rows)
        return [sum(pixels[channel::3]) / (w * h) for channel in range(3)]

    bits = picture["bits"]
    value = 0
    y = round(height * (1 - picture["barHeight"] / 2))
    for bit in range(bits):
        light = sum(mean(round((bit + 0.5) * width / bits) - 3, y - 3, 6, 6)) / 3
        if 90 < light < 165:
            return None
        value = value << 1 | int(light >= 165)
    seen = mean(round(width * 0.4), round(height * 0.3), round(width * 0.2), round(height * 0.1))
    distances = [sum((a - b) ** 2 for a, b in zip(seen, known)) for known in picture["colours"]]
    return {
        "index": value >> (picture["counterBits"] + 2),
        "counter": value & ((1 << picture["counterBits"]) - 1),
        "colour": distances.index(min(distances)),
        "width": width,
        "height": height,
    }
