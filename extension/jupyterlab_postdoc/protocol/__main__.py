"""`python -m jupyterlab_postdoc.protocol`: print the JSON Schema."""

import msgspec

from . import encode, json_schema

print(msgspec.json.format(encode(json_schema()), indent=2).decode())
