import io

import pytest

from farm.workloads.render.gallery import ROW, Gallery, drawn
from farm.workloads.render.pictures import NoPicture, contact_sheet, in_terminal, pixels, side_by_side, thumbnail


def png(colour=(200, 10, 30), size=(64, 36), note=""):
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    out, info = io.BytesIO(), PngInfo()
    info.add_text("Render Date", note)
    Image.new("RGB", size, colour).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def opened(data):
    from PIL import Image

    return Image.open(io.BytesIO(data))


def test_pixels_are_hashed_and_dates_are_not():
    first, second = png(note="Monday"), png(note="Tuesday")
    assert first != second
    assert pixels(first) == pixels(second)


def test_one_other_pixel_or_another_shape_is_another_hash(tmp_path):
    image = opened(png())
    image.putpixel((63, 35), (200, 10, 31))
    image.save(tmp_path / "other.png")
    assert pixels(tmp_path / "other.png") != pixels(png())
    assert pixels(png(size=(32, 72))) != pixels(png(size=(72, 32)))


def test_thumbnails_keep_the_shape():
    assert opened(thumbnail(png(size=(640, 360)), 160)).size == (160, 90)


def test_a_terminal_shows_two_pixels_a_character():
    shown = in_terminal(png(), columns=16)
    assert shown.count("▀") == 16 * 4
    assert "38;2;200;10;30" in shown
    assert len(side_by_side([shown, shown]).split("\n")) == len(shown.split("\n"))


def test_pictures_of_different_heights_stand_side_by_side():
    low, high = in_terminal(png(size=(64, 16)), 8), in_terminal(png(size=(64, 64)), 8)
    assert len(side_by_side([high, low]).split("\n")) == len(high.split("\n"))


def test_a_gallery_shows_full_rows_and_at_the_end_the_rest():
    rows = []
    gallery = Gallery(lambda _pictures, captions: rows.append(list(captions)))
    for number in range(ROW + 1):
        gallery.add(b"", str(number))
    assert rows == [["0", "1", "2"]]
    gallery.flush()
    gallery.flush()
    assert rows == [["0", "1", "2"], ["3"]]


def test_a_gallery_leaves_out_what_comes_too_fast():
    rows = []
    gallery = Gallery(lambda _pictures, captions: rows.append(list(captions)), pause_s=3600)
    for number in range(10 * ROW):
        gallery.add(b"", str(number))
    gallery.flush()
    assert rows == [["0", "1", "2"], ["3", "4", "5"]]


def test_what_is_no_picture_is_left_out_of_a_row():
    assert drawn([png(), b"no picture"]).plain == drawn([png()]).plain


def test_a_contact_sheet_has_every_frame_in_its_place():
    sheet = opened(contact_sheet([png((i * 20, 0, 0)) for i in range(7)], columns=3, width=64))
    assert sheet.size == (3 * 68 + 4, 3 * 40 + 4)
    assert [sheet.getpixel((36 + 68 * (i % 3), 22 + 40 * (i // 3)))[0] for i in range(7)] == [i * 20 for i in range(7)]


def test_what_is_no_picture_is_said_to_be_none(tmp_path):
    (tmp_path / "cut.png").write_bytes(png()[:60])
    for picture in (b"", b"text", tmp_path / "cut.png", tmp_path / "missing.png"):
        with pytest.raises(NoPicture, match="can't be read"):
            pixels(picture)
    with pytest.raises(NoPicture, match="no frames"):
        contact_sheet([])
