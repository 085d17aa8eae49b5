"""Pixels of DICOM frames, by values worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    UID,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)
from tests.data.dicom.conftest import RAMP, WriteDicom, make_dataset, save

import tumortrace.data.dicom.pixels as pixels_module
from tumortrace.data.dicom.codestream import CodeSize
from tumortrace.data.dicom.image import read_frames
from tumortrace.data.dicom.pixels import decode_frame, read_grey
from tumortrace.errors import DataError


def grey(path: Path) -> np.ndarray:
    (frame,) = read_frames(path)
    return read_grey(frame).pixels


def test_stored_values_come_as_they_are(write_dicom: WriteDicom):
    pixels = grey(write_dicom())
    assert pixels.dtype == np.uint16
    assert np.array_equal(pixels, RAMP)


def test_bits_above_the_stored_ones_are_cleared_and_signs_are_kept(write_dicom: WriteDicom):
    garbage = RAMP | np.uint16(0xF000)
    assert np.array_equal(grey(write_dicom("a", garbage, BitsStored=12, HighBit=11)), RAMP)
    signed = np.array([[-2048, -1, 0, 2047]], dtype=np.int16)
    stored = (signed & 0x0FFF).astype(np.uint16)  # 12 bits of two's complement
    path = write_dicom("b", stored, BitsStored=12, HighBit=11, PixelRepresentation=1)
    assert np.array_equal(grey(path), signed)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.uint32])
def test_8_to_32_bits_signed_and_unsigned(write_dicom: WriteDicom, dtype):
    ends = np.iinfo(dtype)
    pixels = np.array([[ends.min, 1, 2, ends.max]], dtype=dtype)
    assert np.array_equal(grey(write_dicom(pixels=pixels)), pixels)


def test_slope_and_intercept(write_dicom: WriteDicom):
    pixels = grey(write_dicom(RescaleSlope=2.5, RescaleIntercept=-10))
    assert pixels.dtype == np.float32
    assert pixels[0, :3].tolist() == [-10.0, -7.5, -5.0]
    assert np.array_equal(grey(write_dicom("b", RescaleSlope=0, RescaleIntercept=0)), RAMP)  # a slope of 0 is none


def test_a_table_of_grey_values_goes_before_slope_and_intercept(write_dicom: WriteDicom):
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [24, 0, 16], (100 - RAMP).tobytes()
    assert grey(write_dicom("a", ModalityLUTSequence=[table]))[0, :3].tolist() == [100, 99, 98]
    inverted = write_dicom("b", ModalityLUTSequence=[table], PhotometricInterpretation="MONOCHROME1")
    assert grey(inverted)[0, :3].tolist() == [-100, -99, -98]  # mirrored at 0: the stored bits say nothing of its ends


@pytest.mark.parametrize("tags", [{}, {"RescaleSlope": 2, "RescaleIntercept": 5}])
def test_monochrome1_is_inverted(write_dicom: WriteDicom, tags):
    plain = grey(write_dicom("a", BitsStored=12, HighBit=11, **tags)).astype(float)
    inverted = grey(write_dicom("b", BitsStored=12, HighBit=11, PhotometricInterpretation="MONOCHROME1", **tags))
    assert np.array_equal(plain - plain[0, 0], inverted[0, 0] - inverted.astype(float))
    # 0 becomes 4095, and on the scale of the values 2 x 4095 + 5.
    assert inverted[0, :2].tolist() == ([8195, 8193] if tags else [4095, 4094])
    signed = grey(write_dicom("c", np.array([[-5, 7]], np.int16), PhotometricInterpretation="MONOCHROME1"))
    assert signed.tolist() == [[4, -8]]  # -1 - value


def test_grey_without_a_photometric_interpretation_is_monochrome2(write_dicom: WriteDicom):
    assert np.array_equal(grey(write_dicom(PhotometricInterpretation=None)), RAMP)


def test_padding_becomes_the_darkest_other_value(write_dicom: WriteDicom):
    pixels = np.array([[-2000, -2000, 3, 90]], dtype=np.int16)
    assert grey(write_dicom("a", pixels, PixelPaddingValue=-2000)).tolist() == [[3, 3, 3, 90]]
    limits = np.array([[-2000, -1900, 3, 90]], dtype=np.int16)
    path = write_dicom("b", limits, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1900)
    assert grey(path).tolist() == [[3, 3, 3, 90]]
    bright = np.array([[65535, 3, 5, 90]], dtype=np.uint16)
    assert grey(write_dicom("c", bright, PixelPaddingValue=65535)).tolist() == [[3, 3, 5, 90]]
    air = np.array([[0, 2, 5, 102]], dtype=np.uint16)  # beside the darkest value, 2 % of 100 below it: as good as air
    assert grey(write_dicom("d", air, PixelPaddingValue=0)).tolist() == [[0, 2, 5, 102]]
    apart = np.array([[0, 3, 5, 103]], dtype=np.uint16)
    assert grey(write_dicom("f", apart, PixelPaddingValue=0)).tolist() == [[3, 3, 5, 103]]
    assert not grey(write_dicom("e", np.full((2, 2), 7, np.uint16), PixelPaddingValue=7)).any()


def test_a_padding_value_without_its_sign(write_dicom: WriteDicom):
    path = write_dicom("a", np.array([[-2000, 3, 90, 91]], dtype=np.int16))
    data = path.read_bytes()
    tag = b"\x28\x00\x20\x01US\x02\x00" + (-2000 & 0xFFFF).to_bytes(2, "little")
    at = data.index(b"\xe0\x7f\x10\x00")
    path.write_bytes(data[:at] + tag + data[at:])
    assert grey(path).tolist() == [[3, 3, 90, 91]]


@pytest.mark.parametrize(
    ("centre", "width", "ends"),
    [
        ([40, 600], [400, 2000], (-160.0, 239.0)),  # the first: 40 - 0.5 - 199.5 and 40 - 0.5 + 199.5
        (40, 0, None),
        (None, None, None),
        ("x", 5, None),
    ],
)
def test_the_first_window_is_taken_and_a_width_of_zero_is_none(tmp_path: Path, centre, width, ends):
    image = make_dataset(RAMP)
    if centre is not None and centre != "x":
        image.WindowCenter, image.WindowWidth = centre, width
    path = save(image, tmp_path / "a")
    assert read_grey(read_frames(path)[0]).window == ends


def test_the_window_is_inverted_with_the_values(write_dicom: WriteDicom):
    path = write_dicom(PhotometricInterpretation="MONOCHROME1", WindowCenter=10.5, WindowWidth=11)
    assert read_grey(read_frames(path)[0]).window == (65535 - 15, 65535 - 5)  # 5 to 15, mirrored


def test_overlays_are_not_burnt_in(write_dicom: WriteDicom):
    path = write_dicom()
    image = make_dataset(RAMP)
    image.add_new(0x60000010, "US", 4)
    image.add_new(0x60000011, "US", 6)
    image.add_new(0x60003000, "OW", b"\xff" * 4)
    assert np.array_equal(grey(save(image, path.with_name("b"))), RAMP)


def test_colours_become_luma(write_dicom: WriteDicom):
    rgb = np.zeros((2, 2, 3), np.uint8)
    rgb[0, 0], rgb[0, 1] = (200, 0, 0), (0, 100, 0)
    tags = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "Rows": 2, "Columns": 2}
    path = write_dicom("a", rgb, PhotometricInterpretation="RGB", **tags)
    assert grey(path).tolist() == [[60, 59], [0, 0]]
    planes = np.ascontiguousarray(rgb.transpose(2, 0, 1))
    path = write_dicom("b", planes, PhotometricInterpretation="RGB", **(tags | {"PlanarConfiguration": 1}))
    assert grey(path).tolist() == [[60, 59], [0, 0]]
    ybr = np.full((2, 2, 3), 128, np.uint8)
    ybr[0, 0] = (76, 85, 255)  # pure red in YCbCr
    path = write_dicom("c", ybr, PhotometricInterpretation="YBR_FULL", **tags)
    assert decode_frame(read_frames(path)[0].image, 1)[0, 0].tolist() == [254, 0, 0]


def test_a_palette_gives_the_colours_and_its_absence_is_told(tmp_path: Path):
    image = make_dataset(np.array([[0, 1, 2]], np.uint8), PhotometricInterpretation="PALETTE COLOR")
    path = save(image, tmp_path / "a")
    with pytest.raises(DataError, match="a: its colour palette is missing"):
        grey(path)
    for colour, values in {"Red": (0, 200, 0), "Green": (0, 0, 100), "Blue": (0, 0, 0)}.items():
        setattr(image, f"{colour}PaletteColorLookupTableDescriptor", [3, 0, 8])
        setattr(image, f"{colour}PaletteColorLookupTableData", bytes([*values, 0]))
        image[f"{colour}PaletteColorLookupTableData"].VR = "OW"
    image.RedPaletteColorLookupTableDescriptor = [4, 0, 8]
    image.GreenPaletteColorLookupTableDescriptor = image.BluePaletteColorLookupTableDescriptor = [4, 0, 8]
    assert grey(save(image, path)).tolist() == [[0, 60, 59]]


HEAD = (np.add.outer(np.arange(48) ** 2, np.arange(40) * 40) % 4096).astype(np.uint16)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("signed", [False, True])
def test_lossless_syntaxes_equal_their_uncompressed_twin(tmp_path: Path, syntax: UID, signed):
    pixels = HEAD.astype(np.int16) - 2048 if signed else HEAD
    image = make_dataset(pixels, BitsStored=12, HighBit=11)
    path = save(image, tmp_path / "a", syntax)
    assert np.array_equal(grey(path), pixels)


def test_near_lossless_stays_near(tmp_path: Path):
    image = make_dataset(HEAD, BitsStored=12, HighBit=11)
    path = save(image, tmp_path / "a", JPEGLSNearLossless, jls_error=3)
    difference = np.abs(grey(path).astype(int) - HEAD)
    assert 0 < difference.max() <= 3


def test_frames_of_one_file_are_decoded_one_at_a_time(tmp_path: Path):
    stack = np.stack([HEAD, HEAD[::-1], HEAD[:, ::-1]])
    for syntax in (None, RLELossless, JPEG2000Lossless):
        image = make_dataset(stack, NumberOfFrames=3)
        path = save(image, tmp_path / "a") if syntax is None else save(image, tmp_path / "b", syntax)
        frames = read_frames(path)
        assert [frame.number for frame in frames] == [1, 2, 3]
        assert np.array_equal(decode_frame(frames[2].image, 3), stack[2])
        assert np.array_equal(decode_frame(frames[0].image, 1), stack[0])


def test_float_pixels_are_read_without_gaps(write_dicom: WriteDicom):
    image = make_dataset(RAMP, PixelData=None, BitsStored=None, HighBit=None, PixelRepresentation=None)
    values = RAMP.astype(np.float32)
    values[0, 0] = np.nan
    image.FloatPixelData, image.BitsAllocated = values.tobytes(), 32
    path = save(image, write_dicom().with_name("b"))
    assert grey(path)[0, :3].tolist() == [1, 1, 2]


def test_a_compressed_picture_of_another_size_is_refused_before_it_is_decoded(tmp_path: Path):
    for syntax in (JPEGLSLossless, JPEG2000Lossless):
        image = make_dataset(HEAD)
        save(image, tmp_path / "a", syntax)
        image.Rows, image.Columns = 40, 48
        image.save_as(tmp_path / "b")
        with pytest.raises(DataError, match=r"b: .* has 48 x 40 pixels of 1 samples, the header says 40 x 48"):
            grey(tmp_path / "b")


@pytest.mark.parametrize(
    ("syntax", "most", "refused"), [(JPEGLSLossless, 100, "101"), (JPEG2000Lossless, 65_535, "65,536")]
)
def test_a_compressed_picture_of_more_parts_than_any_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: UID, most: int, refused: str
):
    path = save(make_dataset(HEAD), tmp_path / "a", syntax)
    monkeypatch.setattr(pixels_module, "read_code_size", lambda _: CodeSize((48, 40), 1, most))
    assert np.array_equal(grey(path), HEAD)
    monkeypatch.setattr(pixels_module, "read_code_size", lambda _: CodeSize((48, 40), 1, most + 1))
    with pytest.raises(DataError, match=f"a: a compressed picture of {refused} parts, more than any"):
        grey(path)


def test_what_a_decoder_answers_amiss_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = save(make_dataset(HEAD), tmp_path / "a", JPEG2000Lossless)

    def fail(error: Exception) -> np.ndarray:
        raise error

    for decoder, message in (
        (lambda *_: HEAD.T, "decoded to another size than the header says"),
        (lambda *_: fail(MemoryError()), "there is too little memory to decode it"),
        (lambda *_: fail(OSError("broken data stream")), r"the pixels cannot be decoded \(JPEG 2000"),
        (lambda *_: fail(FileNotFoundError(2, "No such file")), r"cannot be read \(No such file\); check the file"),
    ):
        monkeypatch.setattr(pixels_module, "_decoder", decoder)
        with pytest.raises(DataError, match=f"a: {message}"):
            grey(path)


def test_run_lengths_that_are_too_short_for_the_picture_are_refused(tmp_path: Path):
    image = make_dataset(HEAD)
    save(image, tmp_path / "a", RLELossless)
    image.Rows = image.Columns = 8000
    image.save_as(tmp_path / "b")
    with pytest.raises(DataError, match=r"b: pixels missing \(.* bytes of run lengths\)"):
        grey(tmp_path / "b")


def test_damaged_pixels_name_the_file_the_frame_and_the_syntax(tmp_path: Path):
    image = make_dataset(np.stack([HEAD, HEAD]), NumberOfFrames=2)
    path = save(image, tmp_path / "a", JPEG2000Lossless)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"\xff\x4f\xff\x51")
    data[at + 44 : at + 60] = bytes(16)
    path.write_bytes(data)
    frames = read_frames(path)
    assert np.array_equal(decode_frame(frames[0].image, 1), HEAD)
    with pytest.raises(DataError, match=r"a, frame 2: the pixels cannot be decoded \(JPEG 2000 Image Compression"):
        decode_frame(frames[1].image, 2)


@pytest.mark.parametrize(
    ("syntax", "message"),
    [
        (JPEGExtended12Bit, r"lossy JPEG of 12 bits \(JPEG Extended\), which is not read; export it uncompressed"),
        (UID("1.2.840.10008.1.2.4.55"), "transfer syntax JPEG Full Progression, .*, which is not read"),
        (UID("1.2.840.10008.1.2.4.100"), "transfer syntax MPEG2 .*, which is not read"),
        (UID("1.2.3.4"), r"transfer syntax unknown \(1.2.3.4\), which is not read"),
    ],
)
def test_other_syntaxes_are_refused_by_name(tmp_path: Path, syntax, message):
    image = make_dataset(HEAD, BitsStored=12, HighBit=11)
    save(image, tmp_path / "a", RLELossless)
    image.file_meta.TransferSyntaxUID = syntax
    image.save_as(tmp_path / "b", implicit_vr=False, little_endian=True, enforce_file_format=False)
    with pytest.raises(DataError, match=f"b: {message}"):
        read_frames(tmp_path / "b")


def test_high_throughput_jpeg_2000_is_available():
    from pydicom.pixels.decoders import HTJ2KLosslessDecoder  # noqa: PLC0415 - only here

    assert HTJ2KLosslessDecoder.is_available
    assert HTJ2KLossless == HTJ2KLosslessDecoder.UID


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"Rows": None}, "Rows is missing in its header"),
        ({"Columns": 0}, "Columns is not one whole number above 0"),
        ({"Rows": 5}, r"pixels missing \(48 of 60 bytes\)"),
        ({"Rows": 60000, "Columns": 60000}, "60000 x 60000 pixels, more than the limit"),
        ({"NumberOfFrames": 2000000000}, "2000000000 frames; at most 20,000 are read"),
        ({"NumberOfFrames": 2}, r"pixels missing \(48 of 96 bytes\)"),
        ({"BitsAllocated": 12}, "16 bits in 12 a pixel"),
        ({"BitsStored": 12, "HighBit": 15}, "12 bits below bit 15 of 16"),
        ({"SamplesPerPixel": 3}, "3 samples a pixel of kind MONOCHROME2"),
        ({"PhotometricInterpretation": "CMYK"}, "1 samples a pixel of kind CMYK"),
        ({"PhotometricInterpretation": None, "SamplesPerPixel": 3}, "3 samples a pixel of kind unknown"),
        ({"PhotometricInterpretation": None, "SamplesPerPixel": None}, "0 samples a pixel of kind unknown"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "a mosaic of many slices in one picture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.2"}, "a radiotherapy dose, not a picture"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}, "a segmentation, not a picture"),
        (
            {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.59", "PixelData": None},
            r"no pixels \(Key Object Selection Document\), not a picture",
        ),
        (
            {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.3", "PixelData": None},
            r"outlines of radiotherapy \(RT Structure Set\), which are not read; convert them to DICOM-SEG",
        ),
        ({"PixelData": None}, r"no pixels \(MR Image\): cut off, or never there"),
    ],
)
def test_headers_that_make_no_picture_are_refused_before_anything_is_allocated(write_dicom: WriteDicom, tags, message):
    path = write_dicom(**tags)
    with pytest.raises(DataError, match=f"a.dcm: {message}"):
        read_frames(path)


@pytest.mark.parametrize(("vr", "value"), [("US", 35), ("UN", b"\x23\x00")])
def test_a_mosaic_says_how_many_slices_it_holds(write_dicom: WriteDicom, vr: str, value: object):
    path = write_dicom(ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])
    image = dcmread(path)
    image.add_new(0x00190010, "LO", "SIEMENS MR HEADER")
    image.add_new(0x0019100A, vr, value)
    image.save_as(path)
    with pytest.raises(DataError, match=r"a\.dcm: a mosaic of 35 slices .*; split it into slices, with dcm2niix"):
        read_frames(path)


def test_pixels_that_are_cut_off_are_refused(write_dicom: WriteDicom):
    path = write_dicom()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"a.dcm: pixels missing \(47 of 48 bytes\); copy it again from its source"):
        read_frames(path)


def test_bytes_behind_the_pixels_are_ignored(write_dicom: WriteDicom):
    path = write_dicom(PixelData=RAMP.tobytes() + bytes(100), SOPClassUID=SecondaryCaptureImageStorage)
    assert np.array_equal(grey(path), RAMP)
