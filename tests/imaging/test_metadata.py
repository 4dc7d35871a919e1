"""The EXIF and XMP that results keep."""

from __future__ import annotations

from time import process_time
from xml.etree import ElementTree as ET

import pytest
from PIL.ExifTags import IFD

from app.imaging import xmp
from app.imaging.metadata import MetadataPolicy, filter_metadata, reset_orientation
from app.imaging.raster import Metadata
from tests.helpers.files import XMP, exif, photo, read_exif, saved, scene, tiff


def decoded() -> Metadata:
    """Make the metadata of an image that is stored on its side."""
    return photo(saved(scene(), "JPEG", exif=exif(6), xmp=XMP)).metadata


def test_keep() -> None:
    """KEEP keeps camera, dates, place, exposure, serial numbers and maker note."""
    kept = filter_metadata(decoded(), MetadataPolicy.KEEP)
    block = read_exif(kept.exif)
    assert block[0x0110] == "K-1"
    assert block[0x0132] == "2021:07:04 12:00:01"
    details = block.get_ifd(IFD.Exif)
    assert details[0x9003] == "2021:07:04 12:00:00"
    assert details[0x829A] == 0.004
    assert details[0x927C] == b"MAKER NOTE WITH OFFSETS"
    assert details[0xA431] == "1234567"
    assert block.get_ifd(IFD.GPSInfo)[2] == (48.0, 12.0, 30.0)
    assert kept.xmp is not None
    assert b"exif:GPSLatitude" in kept.xmp


def test_what_is_no_longer_true_goes_even_so() -> None:
    """Orientation becomes 1, dimensions and previews of the old picture go, whatever the policy."""
    kept = filter_metadata(decoded(), MetadataPolicy.KEEP)
    block = read_exif(kept.exif)
    assert block[0x0112] == 1
    assert 0xA002 not in block.get_ifd(IFD.Exif)
    assert 0xA003 not in block.get_ifd(IFD.Exif)
    assert kept.xmp is not None
    assert b'tiff:Orientation="1"' in kept.xmp
    assert b"PixelXDimension" not in kept.xmp
    assert b"preview" not in kept.xmp


def test_exif_thumbnail_goes() -> None:
    """The thumbnail inside EXIF shows the old picture and goes."""
    original = exif()
    block = with_thumbnail(original)
    assert read_exif(block).get_ifd(IFD.IFD1)
    kept = reset_orientation(Metadata(exif=block)).exif
    assert not read_exif(kept).get_ifd(IFD.IFD1)
    assert kept is not None
    assert b"THUMBNAIL" not in kept


def with_thumbnail(block: bytes) -> bytes:
    """Make a block with a second directory and a thumbnail, as cameras append it."""
    body = bytearray(block.removeprefix(b"Exif\0\0"))
    count = int.from_bytes(body[8:10], "big")
    link = 10 + 12 * count
    start = len(body)
    body[link : link + 4] = start.to_bytes(4, "big")
    entries = ((0x0201, 4, 1, start + 30), (0x0202, 4, 1, 9))
    body += (2).to_bytes(2, "big")
    for tag, kind, number, value in entries:
        body += tag.to_bytes(2, "big") + kind.to_bytes(2, "big")
        body += number.to_bytes(4, "big") + value.to_bytes(4, "big")
    return bytes(body + bytes(4) + b"THUMBNAIL")


def test_safe() -> None:
    """SAFE drops places, serial numbers, owners and maker notes, and keeps dates and camera."""
    safe = filter_metadata(decoded(), MetadataPolicy.SAFE)
    block = read_exif(safe.exif)
    details = block.get_ifd(IFD.Exif)
    assert not block.get_ifd(IFD.GPSInfo)
    assert not {0x927C, 0xA430, 0xA431, 0xA435} & details.keys()
    assert block[0x0110] == "K-1"
    assert details[0x9003] == "2021:07:04 12:00:00"
    assert safe.exif is not None
    for secret in (b"1234567", b"7654321", b"Anna Mueller", b"MAKER NOTE"):
        assert secret not in safe.exif
    assert safe.xmp is not None
    assert b"GPS" not in safe.xmp
    assert b"1234567" not in safe.xmp
    assert b"2021-07-04T12:00:00" in safe.xmp
    assert "Anna Müller".encode() in safe.xmp  # the author, not the owner


def test_strip() -> None:
    """STRIP leaves nothing."""
    assert filter_metadata(decoded(), MetadataPolicy.STRIP) == Metadata()


def test_safe_knows_other_vendors() -> None:
    """Coordinates and serial numbers go from any namespace, as attributes and as elements."""
    packet = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:drone="http://www.dji.com/drone-dji/1.0/"
        drone:GpsLatitude="48.2" drone:CameraSerialNumber="77" drone:Model="Mavic">
        <drone:GpsLongitude>16.3</drone:GpsLongitude></x:xmpmeta>"""
    safe = filter_metadata(Metadata(xmp=packet), MetadataPolicy.SAFE).xmp
    assert safe is not None
    assert b"Mavic" in safe
    assert not any(secret in safe for secret in (b"48.2", b"16.3", b"77"))


def test_orientation_as_an_element() -> None:
    """XMP may write the orientation as an element, too."""
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/">'
        b"<tiff:Orientation>8</tiff:Orientation></x:xmpmeta>"
    )
    kept = reset_orientation(Metadata(xmp=packet)).xmp
    assert kept == packet.replace(b">8<", b">1<")


def test_xmp_stays_well_formed() -> None:
    """The packet keeps its wrapper, its prefixes and its language, and is still XML."""
    xmp = decoded().xmp
    assert xmp is not None
    assert xmp.startswith(b"<?xpacket begin=")
    assert xmp.endswith(b'<?xpacket end="w"?>')
    ET.fromstring(xmp)  # noqa: S314 - our own packet


def test_gain_map_is_not_promised() -> None:
    """XMP that announces a gain map or a motion clip behind the picture no longer does."""
    packet = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"
        xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"
        xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" GCamera:MotionPhoto="1"/>"""
    kept = reset_orientation(Metadata(xmp=packet)).xmp
    assert kept is not None
    assert b"hdrgm:Version" not in kept
    assert b"MotionPhoto" not in kept


BOMB = b"""<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>"""


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(BOMB, id="entities"),
        pytest.param(BOMB.decode().encode("utf-16"), id="entities in UTF-16"),
        pytest.param(b"", id="empty"),
        pytest.param(b"<x><y></x>", id="not well-formed"),
        pytest.param(b"<x>\xff</x>", id="not UTF-8"),
        pytest.param(b"<x>" * 20_000 + b"</x>" * 20_000, id="deep"),
        pytest.param(b"<x>" + b"<y/>" * 1_000_000 + b"</x>", id="huge"),
    ],
)
def test_bad_xmp_is_dropped(packet: bytes) -> None:
    """XMP that is malformed or malicious is dropped and does not fail its photo."""
    assert reset_orientation(Metadata(xmp=packet)).xmp is None
    assert xmp.read_orientation(packet) is None


def test_namespaces_in_namespaces_are_not_resolved() -> None:
    """A packet of 230 KB takes milliseconds, though each of 6000 elements adds a prefix."""
    tags = [(f"<a{n}:b xmlns:a{n}='u'>", f"</a{n}:b>") for n in range(6000)]
    packet = "".join([*(it for it, _ in tags), *(it for _, it in reversed(tags))]).encode()
    begun = process_time()
    assert xmp.read_orientation(packet) is None
    assert process_time() - begun < 0.3


def test_prefixes_that_nothing_uses_are_not_repeated() -> None:
    """Merging takes the prefixes of what it moves alone, however many a packet declares."""
    rdf = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
    unused = " ".join(f'xmlns:a{n}="u"' for n in range(1500))
    used = '<rdf:Description dc:title="t"><other/></rdf:Description>' + "<rdf:Description/>" * 900
    first = f"<x><rdf:RDF {rdf}/></x>".encode()
    second = f'<x {unused} xmlns:dc="d" xmlns="e"><rdf:RDF {rdf}>{used}</rdf:RDF></x>'.encode()
    merged = xmp.merge([first, second])
    assert merged is not None
    assert len(merged) < 2 * len(second)
    assert b"xmlns:a" not in merged
    assert xmp.find_property(merged, ("d", "title")) == "t"
    assert xmp.find_property(merged, ("e", "other")) == ""


@pytest.mark.parametrize(
    "block", [b"", b"II*\0", b"junk" * 10, b"MM\0*\0\0\0\x08\xff\xff", b"I" * 5_000_000]
)
def test_bad_exif_is_dropped(block: bytes) -> None:
    """EXIF that is malformed is dropped and does not fail its photo."""
    assert reset_orientation(Metadata(exif=block)).exif is None


def test_blocks_of_a_wrong_type() -> None:
    """A TIFF whose XMP and profile are written as numbers decodes, without them."""
    numbers = [(tag, 3, 3, (1, 2, 3), True) for tag in (700, 34675)]
    assert photo(tiff(scene(), photometric="rgb", extratags=numbers)).metadata.xmp is None


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_bad_blocks_do_not_fail_a_photo(image_format: str) -> None:
    """A photo with unreadable EXIF and XMP decodes, without them."""
    body = saved(scene(), image_format, exif=b"Exif\0\0junk junk junk", xmp=b"<junk")
    assert photo(body).metadata == Metadata()
