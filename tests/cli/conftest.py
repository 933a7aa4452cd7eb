"""Each test has a folder of its own, and a model where it asks for one."""

import pytest


@pytest.fixture
def fruit_model(own_folder):
    from command import succeed
    from fruit import fruit

    fruit().write_csv("fruit.csv")
    succeed("fit", "fruit.csv", "--target", "kind", "--quiet")
    return "fruit.safetensors"
