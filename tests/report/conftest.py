"""Two pages to look at: of the irises, and of a table that plays tricks."""

from pathlib import Path

import pytest

import odd_table as odd


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    from command import succeed

    place = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        odd.table().write_csv(odd.FILE)
        succeed("fit", odd.FILE, "--target", odd.TARGET, "--report", "odd.html", "--quiet")
        said = succeed("fit", "iris", "--seed", 2, "--report", "iris.html")
        Path("said").write_text(said.stdout)
    return place
