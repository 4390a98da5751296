"""Where calls go: what a URL names."""

import pytest

from addons.connect import address_of


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (None, None),
        ("http://127.0.0.1:5000", ("127.0.0.1", 5000)),
        ("http://moto", ("moto", 80)),
        ("https://[::1]:4566", ("::1", 4566)),
        ("https://aws.internal", ("aws.internal", 443)),
    ],
)
def test_the_address_that_a_url_names(url: str | None, address: tuple[str, int] | None) -> None:
    assert address_of(url) == address
