import io
import tarfile

import pytest

from farm.workloads.packages.build import extract


def packed(*members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind, target, data, mode in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size, member.mode = kind, target, len(data), mode
            archive.addfile(member, io.BytesIO(data))
    return tarfile.open(fileobj=io.BytesIO(out.getvalue()))


def file(name, data=b"x", mode=0o644):
    return (name, tarfile.REGTYPE, "", data, mode)


def link(name, target, kind=tarfile.SYMTYPE):
    return (name, kind, target, b"", 0o777)


BOTH = pytest.mark.parametrize("own_filter", [hasattr(tarfile, "data_filter"), False])


@BOTH
def test_files_folders_and_links_inside_come_out_without_special_bits(tmp_path, own_filter):
    members = (("d", tarfile.DIRTYPE, "", b"", 0o755), file("d/run", b"go", 0o4755), file("d/text", b"hi", 0o666))
    with packed(*members, link("d/again", "text")) as archive:
        extract(archive, tmp_path, own_filter)
    assert (tmp_path / "d" / "again").read_text() == "hi"
    assert (tmp_path / "d" / "run").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "d" / "text").stat().st_mode & 0o7777 == 0o644


@BOTH
@pytest.mark.parametrize(
    "members",
    [
        [file("../out")],
        [file("a/../../out")],
        [link("up", "../..")],
        [link("abs", "/etc")],
        [link("hard", "../../etc/passwd", tarfile.LNKTYPE)],
        [("pipe", tarfile.FIFOTYPE, "", b"", 0o644)],
        [("null", tarfile.CHRTYPE, "", b"", 0o644)],
    ],
)
def test_what_would_leave_the_folder_is_refused(tmp_path, own_filter, members):
    with packed(*members) as archive, pytest.raises(tarfile.TarError):
        extract(archive, tmp_path / "into", own_filter)
    assert [path.name for path in tmp_path.iterdir()] in ([], ["into"])
    assert not any((tmp_path / "into").rglob("*"))


def test_without_pythons_filter_nothing_goes_through_a_link(tmp_path):
    with packed(link("a", "b"), file("a/c")) as archive, pytest.raises(tarfile.TarError):
        extract(archive, tmp_path, own_filter=False)
