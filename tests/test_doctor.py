"""What doctor says of this machine, and of one without an engine."""

from __future__ import annotations

import pytest

from forager.doctor import doctor, fit, render_doctor


@pytest.mark.docker
async def test_this_machine_is_fit(base_image: str) -> None:
    checks = await doctor()
    assert fit(checks), [check for check in checks if check.state == "fail"]
    found = {check.name: check.found for check in checks}
    assert found["base image"] == base_image
    assert "memory" in found["limits"]
    assert render_doctor(checks).row_count == len(checks)


async def test_no_engine_is_one_failed_line_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    checks = await doctor()
    assert not fit(checks)
    [failed] = [check for check in checks if check.state == "fail"]
    assert failed.name == "docker engine"
    assert "DOCKER_HOST" in failed.advice
