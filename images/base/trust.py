"""Make the image trust what the host trusts: add the host's CA certificates that it does not have already.

Runs inside the image while it is built. They go where `update-ca-certificates` looks, so a later upgrade of
ca-certificates keeps them; pip, uv and git are told through their system-wide files to use that store, so that
no variable has to say so in an agent's environment.
"""

import hashlib
import re
import ssl
import subprocess
import sys
from pathlib import Path

STORE = Path("/etc/ssl/certs/ca-certificates.crt")
EXTRA = Path("/usr/local/share/ca-certificates/host")


def certificates(path: Path) -> dict[bytes, str]:
    text = path.read_text("latin-1") if path.exists() else ""
    blocks = re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.DOTALL)
    return {ssl.PEM_cert_to_DER_cert(block): block for block in blocks}


known = certificates(STORE)
new = {der: pem for der, pem in certificates(Path(sys.argv[1])).items() if der not in known}
EXTRA.mkdir(parents=True, exist_ok=True)
for der, pem in new.items():
    (EXTRA / f"{hashlib.sha256(der).hexdigest()[:16]}.crt").write_text(pem + "\n")
if new:
    subprocess.run(["update-ca-certificates"], check=True, stdout=subprocess.DEVNULL)

Path("/etc/pip.conf").write_text(
    f"[global]\ncert = {STORE}\ndisable-pip-version-check = true\nno-input = true\nroot-user-action = ignore\n"
)
Path("/etc/uv").mkdir(exist_ok=True)
Path("/etc/uv/uv.toml").write_text("native-tls = true\n")
