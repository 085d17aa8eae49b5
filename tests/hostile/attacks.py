"""Hostile files, each made by a few lines: what an attacker hands to the program instead of a slice."""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless
from tests.data.dicom.conftest import make_dataset, save

MIB = 2**20

Attack = Callable[[Path], Path]
"""Writes files into an empty folder; returns the one that the program is given."""

PICTURES: dict[str, Attack] = {}
SCANS: dict[str, Attack] = {}
ANNOTATIONS: dict[str, Attack] = {}

ANSWERED = {"PNG whose EXIF directory repeats 700 kB 60,000 times", "JPEG whose EXIF directory repeats itself",
    "DICOM of 2,000 nested sequences of known length", "YAML with aliases that expand a billionfold",
    "DICOM whose position holds ten million numbers"}  # fmt: skip
"""Files whose pixels are sound: what is hostile in them is passed over."""


def _attack(registry: dict[str, Attack], name: str) -> Callable[[Attack], Attack]:
    def register(make: Attack) -> Attack:
        registry[name] = make
        return make

    return register


def pack_zeros(size: int, *, head: bytes = b"", wrap: int = zlib.MAX_WBITS) -> bytes:
    """Compress ``head`` and then so many zeros without holding them: one packed mebibyte is repeated.

    The checksum at the end is left wrong where it would take seconds to compute; nobody may get so far.
    """
    first = zlib.compressobj(9, zlib.DEFLATED, wrap)
    data = first.compress(head) + first.flush(zlib.Z_FULL_FLUSH)
    raw = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    raw.compress(b"")
    block = raw.compress(bytes(MIB)) + raw.flush(zlib.Z_FULL_FLUSH)
    end = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return data + block * (size // MIB) + end.compress(bytes(size % MIB)) + end.flush() + _sum_up(size, wrap)


def _sum_up(size: int, wrap: int) -> bytes:
    """The checksum of so many zeros behind zlib data; wrong for gzip, and for more than a mebibyte."""
    return bytes(8) if wrap > 15 else struct.pack(">I", zlib.adler32(bytes(min(size, MIB))))


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(side: int) -> bytes:
    """A PNG of zeros whose pixels are all there: 400 bytes a mebibyte."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    pixels = pack_zeros(side * (side + 1))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")


for _side in (20_000, 32_000, 50_000):

    @_attack(PICTURES, f"PNG of {_side:,} squared")
    def _png(folder: Path, side: int = _side) -> Path:
        return _write(folder / "a.png", png_of(side))


@_attack(PICTURES, "PNG of a million empty chunks")
def _png_chunks(folder: Path) -> Path:
    data = png_of(8)
    return _write(folder / "a.png", data[:-12] + png_chunk(b"tEXt", b"") * 2_000_000 + data[-12:])


@_attack(PICTURES, "PNG whose EXIF directory repeats 700 kB 60,000 times")
def _png_exif(folder: Path) -> Path:
    data = png_of(8)
    return _write(folder / "a.png", data[:33] + png_chunk(b"eXIf", tag_bomb(60_000)) + data[33:])


def tag_bomb(entries: int, values: int = 0) -> bytes:
    """A TIFF directory in which each entry claims all of the file as its value."""
    values = values or 12 * entries
    table = b"".join(struct.pack("<HHII", 300 + number, 1, values, 8) for number in range(entries))
    return b"II*\0" + struct.pack("<IH", 8, entries) + table + bytes(4)


@_attack(PICTURES, "progressive JPEG of 400 scans")
def _jpeg_scans(folder: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (512, 512)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    start = data.rindex(b"\xff\xda")
    return _write(folder / "a.jpg", data[:start] + data[start:-2] * 400 + b"\xff\xd9")


@_attack(PICTURES, "JPEG of 65,535 squared")
def _jpeg_size(folder: Path) -> Path:
    data = bytearray(cv2.imencode(".jpg", np.zeros((64, 64), np.uint8))[1].tobytes())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xff" * 4
    return _write(folder / "a.jpg", bytes(data))


@_attack(PICTURES, "JPEG whose EXIF directory repeats itself")
def _jpeg_exif(folder: Path) -> Path:
    data = cv2.imencode(".jpg", np.zeros((64, 64), np.uint8))[1].tobytes()
    bomb = b"Exif\0\0" + tag_bomb(5400)
    segments = (b"\xff\xe1" + struct.pack(">H", len(bomb) + 2) + bomb) * 3
    return _write(folder / "a.jpg", data[:2] + segments + data[2:])


def tiff_of(*entries: tuple[int, int, int, int], big: bool = False, more: bytes = b"") -> bytes:
    """A TIFF of one directory; entries are tag, type, count and value."""
    if big:
        head, row, count = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16), "<HHQQ", struct.pack("<Q", len(entries))
    else:
        head, row, count = struct.pack("<2sHI", b"II", 42, 8), "<HHII", struct.pack("<H", len(entries))
    return head + count + b"".join(struct.pack(row, *each) for each in entries) + bytes(8 if big else 4) + more


_GREY = [(258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1)]


@_attack(PICTURES, "TIFF of 60,000 squared in one strip")
def _tiff_size(folder: Path) -> Path:
    side = 60_000
    strip = [(273, 4, 1, 200), (278, 4, 1, side), (279, 4, 1, side * side)]
    return _write(folder / "a.tif", tiff_of((256, 4, 1, side), (257, 4, 1, side), *_GREY, *strip))


@_attack(PICTURES, "TIFF whose strip claims 4 GB")
def _tiff_strip(folder: Path) -> Path:
    strip = [(273, 4, 1, 200), (278, 4, 1, 7000), (279, 4, 1, 2**32 - 1)]
    return _write(folder / "a.tif", tiff_of((256, 4, 1, 7000), (257, 4, 1, 7000), *_GREY, *strip))


@_attack(PICTURES, "BigTIFF whose strip claims 2^60 bytes")
def _bigtiff_strip(folder: Path) -> Path:
    strip = [(273, 16, 1, 400), (278, 4, 1, 7000), (279, 16, 1, 2**60)]
    return _write(folder / "a.tif", tiff_of((256, 4, 1, 7000), (257, 4, 1, 7000), *_GREY, *strip, big=True))


@_attack(PICTURES, "TIFF of tiles of 2^31 pixels")
def _tiff_tiles(folder: Path) -> Path:
    grey = [(258, 3, 1, 8), (259, 3, 1, 5), (262, 3, 1, 1), (277, 3, 1, 1)]
    tile = [(322, 4, 1, 65520), (323, 4, 1, 32752), (324, 4, 1, 200), (325, 4, 1, 100)]
    return _write(folder / "a.tif", tiff_of((256, 4, 1, 64), (257, 4, 1, 64), *grey, *tile, more=bytes(400)))


@_attack(PICTURES, "TIFF directory of 60,000 entries that repeat 700 kB")
def _tiff_tags(folder: Path) -> Path:
    return _write(folder / "a.tif", tag_bomb(60_000))


@_attack(PICTURES, "TIFF whose directories point to each other")
def _tiff_loop(folder: Path) -> Path:
    entries = [(256, 4, 1, 8), (257, 4, 1, 8), *_GREY, (273, 4, 1, 8), (278, 4, 1, 8), (279, 4, 1, 64)]
    data = tiff_of(*entries)
    second = len(data)
    one = data[8:-4]
    return _write(folder / "a.tif", data[:-4] + struct.pack("<I", second) + one + struct.pack("<I", 8))


@_attack(PICTURES, "TIFF of 500,000 pages")
def _tiff_pages(folder: Path) -> Path:
    count = 500_000
    pages = [struct.pack("<HI", 0, 8 + 6 * (number + 1)) for number in range(count)]
    return _write(folder / "a.tif", b"II*\0\x08\0\0\0" + b"".join(pages) + bytes(6))


@_attack(PICTURES, "GIF of 65,535 squared")
def _gif_size(folder: Path) -> Path:
    data = bytearray(_encode(np.zeros((8, 8), np.uint8), "GIF"))
    data[6:10] = b"\xff" * 4
    return _write(folder / "a.gif", bytes(data))


@_attack(PICTURES, "GIF of 300,000 frames")
def _gif_frames(folder: Path) -> Path:
    data = _encode(np.zeros((1, 1), np.uint8), "GIF")
    at = data.rindex(b",")
    return _write(folder / "a.gif", data[:at] + data[at:-1] * 300_000 + b";")


@_attack(PICTURES, "BMP of 2^31 squared")
def _bmp_size(folder: Path) -> Path:
    data = bytearray(_encode(np.zeros((8, 8), np.uint8), "BMP"))
    data[18:26] = struct.pack("<ii", 2**31 - 1, 2**31 - 1)
    return _write(folder / "a.bmp", bytes(data))


@_attack(PICTURES, "WebP of 16,383 squared")
def _webp_size(folder: Path) -> Path:
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + struct.pack("<I", 16382)[:3] + struct.pack("<I", 16382)[:3]
    body += _encode(np.zeros((8, 8, 3), np.uint8), "WEBP")[12:]
    return _write(folder / "a.webp", b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body)


@_attack(PICTURES, "a named pipe")
def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


@_attack(PICTURES, "a named pipe that ends in .dcm")
def _dicom_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.dcm")
    return folder / "pipe.dcm"


@_attack(PICTURES, "a named pipe that ends in .nii.gz")
def _nifti_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.nii.gz")
    return folder / "pipe.nii.gz"


@_attack(PICTURES, "a link to /dev/zero")
def _zero(folder: Path) -> Path:
    (folder / "zero.nii").symlink_to("/dev/zero")
    return folder / "zero.nii"


@_attack(PICTURES, "a socket")
def _socket(folder: Path) -> Path:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(folder / "s.dcm"))
    listening.close()
    return folder / "s.dcm"


@_attack(PICTURES, "a picture of a terabyte that takes no room")
def _sparse(folder: Path) -> Path:
    (folder / "a.png").touch()
    os.truncate(folder / "a.png", 2**40)
    return folder / "a.png"


@_attack(PICTURES, "an annotation of labelme as a picture, 100,000 lists deep")
def _deep_labelme(folder: Path) -> Path:
    return _write(folder / "a.png", b'{"imageData": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")


# --- scans ---


@_attack(SCANS, "DICOM of 60,000 squared and 100,000 frames")
def _dicom_size(folder: Path) -> Path:
    image = make_dataset(np.zeros((4, 6), np.uint16), NumberOfFrames=100_000)
    image.Rows = image.Columns = 60_000
    return save(image, folder / "a.dcm")


@_attack(SCANS, "DICOM of one pixel and 100,000 frames")
def _dicom_frames(folder: Path) -> Path:
    image = make_dataset(np.zeros((100_000, 1, 1), np.uint8), NumberOfFrames=100_000)
    return save(image, folder / "a.dcm")


def nested_dicom(depth: int, *, defined: bool) -> bytes:
    """The bytes of a data set whose sequence holds a sequence, and so on; explicit VR, little endian."""
    tag = struct.pack("<HH", 0x5200, 0x9229)
    if not defined:
        begin = tag + b"SQ\0\0" + b"\xff" * 4 + b"\xfe\xff\x00\xe0" + b"\xff" * 4
        end = b"\xfe\xff\x0d\xe0" + bytes(4) + b"\xfe\xff\xdd\xe0" + bytes(4)
        return begin * depth + end * depth
    heads, length = [], 0
    for _ in range(depth):
        item = b"\xfe\xff\x00\xe0" + struct.pack("<I", length)
        length += len(item)
        heads.append(tag + b"SQ\0\0" + struct.pack("<I", length) + item)
        length += 12
    return b"".join(reversed(heads))


def _insert(path: Path, elements: bytes, before: int = 0x00080018) -> Path:
    """Put elements into a DICOM file before a tag."""
    data = path.read_bytes()
    at = data.index(struct.pack("<HH", before >> 16, before & 0xFFFF) + b"UI", 132)
    return _write(path, data[:at] + elements + data[at:])


for _kind in (True, False):

    @_attack(SCANS, f"DICOM of 2,000 nested sequences of {'known' if _kind else 'undefined'} length")
    def _dicom_nested(folder: Path, *, defined: bool = _kind) -> Path:
        path = save(make_dataset(np.zeros((4, 6), np.uint16)), folder / "a.dcm")
        return _insert(path, nested_dicom(2000, defined=defined), 0x0020000E)


@_attack(SCANS, "DICOM of two million empty elements")
def _dicom_elements(folder: Path) -> Path:
    path = save(make_dataset(np.zeros((4, 6), np.uint16)), folder / "a.dcm")
    many = b"".join(struct.pack("<HH2sH", 0x0009, number % 0xFF00 + 0xFF, b"LO", 0) for number in range(2_000_000))
    return _insert(path, many, 0x0020000E)


@_attack(SCANS, "DICOM whose position holds ten million numbers")
def _dicom_numbers(folder: Path) -> Path:
    path = save(make_dataset(np.zeros((4, 6), np.uint16), ImagePositionPatient=None), folder / "a.dcm")
    value = b"1\\" * 10_000_000
    element = struct.pack("<HH2sHI", 0x0020, 0x0032, b"UT", 0, len(value)) + value
    data = path.read_bytes()
    at = data.index(struct.pack("<HH", 0x0020, 0x0037) + b"DS")
    return _write(path, data[:at] + element + data[at:])


@_attack(SCANS, "DICOM with a value of 4 GB in a file that takes no room")
def _dicom_value(folder: Path) -> Path:
    path = save(make_dataset(np.zeros((4, 6), np.uint16)), folder / "a.dcm")
    data = path.read_bytes()
    at = data.index(struct.pack("<HH", 0x0008, 0x0018) + b"UI")
    _write(path, data[:at] + struct.pack("<HH2sHI", 0x0008, 0x0018, b"UT", 0, 2**32 - 16))
    os.truncate(path, 2**33)
    return path


@_attack(SCANS, "deflated DICOM of 4 GB in 4 MB")
def _dicom_deflated(folder: Path) -> Path:
    path = save(make_dataset(np.zeros((4, 6), np.uint16)), folder / "a.dcm", DeflatedExplicitVRLittleEndian)
    data = path.read_bytes()
    at = data.index(b"1.2.840.10008.1.2.1.99") + 22
    element = struct.pack("<HH2sHI", 0x0008, 0x0005, b"UT", 0, 2**32 - 2)
    return _write(path, data[:at] + pack_zeros(2**32, head=element, wrap=-zlib.MAX_WBITS))


def compressed_dicom(folder: Path, codestream: bytes, syntax: str, side: int = 64) -> Path:
    image = make_dataset(np.zeros((4, 6), np.uint8))
    path = save(image, folder / "a.dcm")
    image.Rows = image.Columns = side
    image.file_meta.TransferSyntaxUID = syntax
    image.PixelData = encapsulate([codestream])
    image["PixelData"].is_undefined_length = True
    image.save_as(path, enforce_file_format=True)
    return path


def j2k_of(width: int, height: int, *, tile: int | None = None, components: int = 1) -> bytes:
    """The beginning of a JPEG 2000 codestream: its size and nothing else."""
    tile = tile or max(width, height)
    size = (
        struct.pack(">HIIIIIIIIH", 0, width, height, 0, 0, tile, tile, 0, 0, components) + b"\x07\x01\x01" * components
    )
    cod = b"\xff\x52\x00\x0c\x00\x00\x00\x01\x00\x01\x04\x04\x00\x01"
    qcd = b"\xff\x5c\x00\x07\x40\x40\x48\x48\x50"
    tile_part = b"\xff\x90\x00\x0a\x00\x00\x00\x00\x00\x0e\x00\x01\xff\x93"
    return b"\xff\x4f\xff\x51" + struct.pack(">H", len(size) + 2) + size + cod + qcd + tile_part + b"\xff\xd9"


@_attack(SCANS, "JPEG 2000 of 60,000 squared in a DICOM of 64 squared")
def _j2k_size(folder: Path) -> Path:
    return compressed_dicom(folder, j2k_of(60_000, 60_000), JPEG2000Lossless)


@_attack(SCANS, "JPEG 2000 of 16,384 components")
def _j2k_components(folder: Path) -> Path:
    return compressed_dicom(folder, j2k_of(2048, 2048, components=16384), JPEG2000Lossless, 2048)


@_attack(SCANS, "JPEG 2000 of four million tiles")
def _j2k_tiles(folder: Path) -> Path:
    return compressed_dicom(folder, j2k_of(2048, 2048, tile=1), JPEG2000Lossless, 2048)


@_attack(SCANS, "JP2 that shows another size before its codestream")
def _jp2_decoy(folder: Path) -> Path:
    def box(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data) + 8) + kind + data

    decoy, real = j2k_of(64, 64)[:60], j2k_of(30_000, 30_000)
    mark = box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    data = mark + box(b"free", decoy) + box(b"jp2h", b"") + box(b"jp2c", real)
    return compressed_dicom(folder, data, JPEG2000Lossless)


@_attack(SCANS, "JPEG-LS of 60,000 squared in a DICOM of 64 squared")
def _jpegls_size(folder: Path) -> Path:
    frame = struct.pack(">HBHHBBBB", 11, 8, 60_000, 60_000, 1, 1, 0x11, 0)
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00"
    data = b"\xff\xd8\xff\xf7" + frame + scan + bytes(100) + b"\xff\xd9"
    return compressed_dicom(folder, data, JPEGLSLossless)


def nifti_header(*dims: int, code: int = 2, bits: int = 8, offset: float = 352.0) -> bytes:
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, len(dims), *dims, *[1] * (7 - len(dims)))
    struct.pack_into("<hh", head, 70, code, bits)
    struct.pack_into("<8f", head, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<f", head, 108, offset)
    head[344:348] = b"n+1\0"
    return bytes(head)


def _gzip_bomb(folder: Path, header: bytes, size: int = 2**33) -> Path:
    return _write(folder / "a.nii.gz", pack_zeros(size, head=header, wrap=31))


@_attack(SCANS, ".nii.gz of 8 GB in 8 MB, of a header that says 64 cubed")
def _nifti_behind(folder: Path) -> Path:
    return _gzip_bomb(folder, nifti_header(64, 64, 64))


@_attack(SCANS, ".nii.gz of 8 GB in 8 MB, of a header that says 500 MB")
def _nifti_whole(folder: Path) -> Path:
    return _gzip_bomb(folder, nifti_header(1000, 1000, 500))


@_attack(SCANS, ".nii.gz of 8 GB in 8 MB, of a header that says 8 GB")
def _nifti_large(folder: Path) -> Path:
    return _gzip_bomb(folder, nifti_header(2000, 2000, 2000))


@_attack(SCANS, ".nii.gz whose voxels begin behind 4 GB")
def _nifti_offset(folder: Path) -> Path:
    return _gzip_bomb(folder, nifti_header(64, 64, 64, offset=2.0**32))


@_attack(SCANS, "NIfTI-2 of two billion slices of one pixel")
def _nifti_slices(folder: Path) -> Path:
    head = bytearray(544)
    struct.pack_into("<i8s", head, 0, 540, b"n+2\0\r\n\x1a\n")
    struct.pack_into("<hh8q", head, 12, 2, 8, 3, 1, 1, 2**31 - 1, 1, 1, 1, 1)
    struct.pack_into("<8dq", head, 104, *[1.0] * 8, 544)
    path = _write(folder / "a.nii", bytes(head))
    os.truncate(path, 544 + 2**31)
    return path


@_attack(SCANS, "NIfTI of one slice of 30,000 squared in a file that takes no room")
def _nifti_slice(folder: Path) -> Path:
    path = _write(folder / "a.nii", nifti_header(30_000, 30_000, 1))
    os.truncate(path, 352 + 30_000 * 30_000)
    return path


# --- annotations: a folder of pictures with them ---


def add_picture(folder: Path, name: str = "a.png") -> None:
    """Write a small grey picture."""
    (folder / name).parent.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / name), np.full((64, 64), 90, np.uint8))


def _via(folder: Path, shape: str, count: int = 1) -> Path:
    region = f'{{"shape_attributes": {shape}, "region_attributes": {{}}}}'
    regions = ", ".join([region] * count)
    add_picture(folder)
    _write(folder / "via.json", f'{{"a.png1": {{"filename": "a.png", "size": -1, "regions": [{regions}]}}}}'.encode())
    return folder


@_attack(ANNOTATIONS, "VIA, JSON 100,000 lists deep")
def _deep_json(folder: Path) -> Path:
    return _via(folder, "[" * 100_000 + "]" * 100_000)


@_attack(ANNOTATIONS, "VIA, a polygon of a million points")
def _million_points(folder: Path) -> Path:
    points = ", ".join(["12.5"] * 1_000_000)
    return _via(folder, f'{{"name": "polygon", "all_points_x": [{points}], "all_points_y": [{points}]}}')


@_attack(ANNOTATIONS, "labelme, a polygon of a million points")
def _labelme_points(folder: Path) -> Path:
    add_picture(folder)
    points = ",\n".join(["[\n1.5,\n2.5\n]"] * 1_000_000)
    text = f'{{"imagePath": "a.png", "imageData": null, "shapes": [{{"shape_type": "polygon", "points": [{points}]}}]}}'
    _write(folder / "a.json", text.encode())
    return folder


@_attack(ANNOTATIONS, "CVAT, a polygon of a million points")
def _cvat_points(folder: Path) -> Path:
    add_picture(folder)
    points = ";".join(["1.5,2.5"] * 1_000_000)
    shape = f'<polygon label="t" points="{points}"/>'
    _write(
        folder / "a.xml",
        f'<annotations><image name="a.png" width="64" height="64">{shape}</image></annotations>'.encode(),
    )
    return folder


@_attack(ANNOTATIONS, "YOLO, a polygon of a million points")
def _yolo_points(folder: Path) -> Path:
    add_picture(folder)
    _write(folder / "a.txt", b"0 " + b"0.1 0.2 " * 1_000_000)
    return folder


@_attack(ANNOTATIONS, "VIA, a million polygons")
def _million_polygons(folder: Path) -> Path:
    return _via(folder, '{"name": "polygon"}', 1_000_000)


@_attack(ANNOTATIONS, "COCO, 50,000 polygons on one picture")
def _many_polygons(folder: Path) -> Path:
    add_picture(folder)
    shape = '{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]}'
    image = '{"id": 1, "file_name": "a.png", "width": 64, "height": 64}'
    text = f'{{"images": [{image}], "categories": [], "annotations": [{", ".join([shape] * 50_000)}]}}'
    _write(folder / "coco.json", text.encode())
    return folder


@_attack(ANNOTATIONS, "XML with entities that expand a billionfold")
def _entities(folder: Path) -> Path:
    add_picture(folder)
    levels = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(9))
    _write(
        folder / "a.xml",
        f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY e0 "ha">{levels}]><annotations>&e9;</annotations>'.encode(),
    )
    return folder


@_attack(ANNOTATIONS, "XML that includes /etc/passwd")
def _external(folder: Path) -> Path:
    add_picture(folder)
    _write(folder / "a.xml", b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotations>&x;</annotations>')
    return folder


@_attack(ANNOTATIONS, "CVAT, 100,000 elements deep")
def _deep_xml(folder: Path) -> Path:
    add_picture(folder)
    nested = "<b>" * 100_000 + "</b>" * 100_000
    _write(folder / "a.xml", f'<annotations><meta>{nested}</meta><image name="a.png"/></annotations>'.encode())
    return folder


@_attack(ANNOTATIONS, "CVAT, tracks of a hundred thousand frames")
def _cvat_tracks(folder: Path) -> Path:
    add_picture(folder)
    ends = '<box frame="0" xtl="1" ytl="1" xbr="9" ybr="9"/><box frame="99999" xtl="1" ytl="1" xbr="9" ybr="9"/>'
    _write(folder / "a.xml", f"<annotations>{f'<track>{ends}</track>' * 100}</annotations>".encode())
    return folder


@_attack(ANNOTATIONS, "COCO, run lengths of 2^40 pixels")
def _coco_rle(folder: Path) -> Path:
    add_picture(folder)
    mask = {"size": [2**20, 2**20], "counts": [2**40]}
    shape = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": mask}
    image = {"id": 1, "file_name": "a.png", "width": 2**20, "height": 2**20}
    _write(folder / "coco.json", json.dumps({"images": [image], "categories": [], "annotations": [shape]}).encode())
    return folder


@_attack(ANNOTATIONS, "labelme, a mask of 50,000 squared as base64 PNG")
def _labelme_mask(folder: Path) -> Path:
    add_picture(folder)
    mask = base64.b64encode(png_of(20_000)).decode()
    shape = {"shape_type": "mask", "points": [[0, 0], [9, 9]], "mask": mask}
    _write(folder / "a.json", json.dumps({"imagePath": "a.png", "imageData": None, "shapes": [shape]}).encode())
    return folder


@_attack(ANNOTATIONS, "Supervisely, a bitmap of a gigabyte in a megabyte")
def _supervisely(folder: Path) -> Path:
    add_picture(folder)
    data = base64.b64encode(pack_zeros(2**30)).decode()
    shape = {"geometryType": "bitmap", "classTitle": "t", "bitmap": {"data": data, "origin": [0, 0]}}
    document = {"size": {"height": 64, "width": 64}, "tags": [], "objects": [shape]}
    _write(folder / "a.png.json", json.dumps(document).encode())
    return folder


@_attack(ANNOTATIONS, "pairs.csv with a field of 32 MB")
def _csv_field(folder: Path) -> Path:
    add_picture(folder)
    _write(folder / "pairs.csv", b'image,mask,patient\na.png,b.png,"' + b"x" * 2**25 + b'"\n')
    return folder


@_attack(ANNOTATIONS, "pairs.csv with a field that never ends")
def _csv_open(folder: Path) -> Path:
    add_picture(folder)
    _write(folder / "pairs.csv", b'image,mask,patient\na.png,b.png,"' + b"x\n" * 2**22)
    return folder


@_attack(ANNOTATIONS, "annotations of a terabyte that take no room")
def _sparse_json(folder: Path) -> Path:
    add_picture(folder)
    (folder / "via.json").touch()
    os.truncate(folder / "via.json", 2**40)
    return folder


@_attack(ANNOTATIONS, "YAML with aliases that expand a billionfold")
def _yaml_aliases(folder: Path) -> Path:
    add_picture(folder)
    (folder / "a.txt").write_bytes(b"0 0.1 0.1 0.5 0.1 0.5 0.5\n")
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (folder / "data.yaml").write_text("\n".join([*lines, "names: *a9"]))
    return folder


def _encode(pixels: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
