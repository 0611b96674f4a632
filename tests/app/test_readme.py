"""What the README says to paste does what it says."""

import asyncio
import re
import shutil
import sys
from pathlib import Path

import pytest

from app.demo import load_demo
from app.tenants import DEMO_KEY_FILE, keep_secret
from tests.app.running import install, running

ROOT = Path(__file__).parent.parent.parent


def commands() -> list[str]:
    """The shell blocks of the README's part on voting."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```sh\n(.*?)```", text.split("\n## Vote\n")[1].split("\n## ")[0], re.DOTALL)


async def run(script: str, folder: Path) -> str:
    """What the script prints, in a folder like the one in which the server was started."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", script),
        cwd=folder,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, output.decode()
    return output.decode()


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
async def test_votes_that_are_pasted_are_cast(database_url: str, redis_url: str, prefix: str, tmp_path: Path) -> None:
    by_curl, by_websocket, by_client = commands()
    where = await install(database_url, redis_url, prefix)
    async with running(where) as server:
        of = server.services
        agent = await load_demo(of.directory, of.catalogue, of.boards, of.live, where.tenant, of.now())
        key = (await of.directory.add_agent_key(where.tenant, agent)).secret
        keep_secret(tmp_path / ".plaudit", DEMO_KEY_FILE, key)

        async def paste(command: str) -> str:
            command = command.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
            # The key is exported by the first block, for those that follow it in the same terminal.
            export = by_curl.splitlines()[0]
            return await run(f"{export}\n{command.replace('.venv/bin/python', sys.executable)}", tmp_path)

        assert '"status":"applied"' in await paste(by_curl)
        assert '"status":"unchanged"' in await paste(by_curl)
        answers = await paste(by_websocket)
        for answer in ('"type":"welcome"', '"status":"applied"', '"type":"snapshot"'):
            assert answer in answers
        assert (await paste(by_client)).splitlines()[0] == "applied 1"
