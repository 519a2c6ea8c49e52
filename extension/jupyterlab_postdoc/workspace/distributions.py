"""The name under which a module's package is found in a package index; most bear the module's own name."""

from __future__ import annotations

import re
import sys

KNOWN = {
    "Bio": "biopython",
    "Crypto": "pycryptodome",
    "MySQLdb": "mysqlclient",
    "OpenSSL": "pyopenssl",
    "PIL": "pillow",
    "attr": "attrs",
    "bayes_opt": "bayesian-optimization",
    "bs4": "beautifulsoup4",
    "bson": "pymongo",
    "community": "python-louvain",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "fitz": "pymupdf",
    "git": "gitpython",
    "google.cloud.bigquery": "google-cloud-bigquery",
    "google.cloud.storage": "google-cloud-storage",
    "google.protobuf": "protobuf",
    "imblearn": "imbalanced-learn",
    "jose": "python-jose",
    "jwt": "pyjwt",
    "magic": "python-magic",
    "mpl_toolkits": "matplotlib",
    "mpl_toolkits.basemap": "basemap",
    "multipart": "python-multipart",
    "nacl": "pynacl",
    "osgeo": "gdal",
    "pkg_resources": "setuptools",
    "pptx": "python-pptx",
    "psycopg2": "psycopg2-binary",
    "pylab": "matplotlib",
    "ruamel": "ruamel-yaml",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "skopt": "scikit-optimize",
    "slugify": "python-slugify",
    "snappy": "python-snappy",
    "socks": "pysocks",
    "talib": "ta-lib",
    "umap": "umap-learn",
    "usb": "pyusb",
    "websocket": "websocket-client",
    "win32api": "pywin32",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}

NO_MODULE = re.compile(r"No module named '([A-Za-z_][\w.]{0,199})'")
OPTIONAL = re.compile(r"(?:Missing optional dependency|pip install) [`'\"]?([A-Za-z0-9][A-Za-z0-9._-]{0,99})")
"""How libraries say that they would need another one: ``Missing optional dependency 'openpyxl'.``"""


def distribution(module: str) -> str:
    """``sklearn.linear_model`` → ``scikit-learn``; without a better idea the module's first part, with hyphens."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        if known := KNOWN.get(".".join(parts[:length])):
            return known
    return parts[0].replace("_", "-").lower()


def missing_module(name: str, message: str) -> str | None:
    """The module that an error says is not there, or None when the error is another one.

    ``name`` is the exception's, ``message`` its text. Modules of Python itself cannot be installed.
    """
    if name not in ("ModuleNotFoundError", "ImportError"):
        return None
    found = NO_MODULE.search(message)
    if found is None or found[1].partition(".")[0] in sys.stdlib_module_names or found[1].startswith("_"):
        return None
    return found[1]


def missing_distribution(name: str, message: str) -> str | None:
    """The package that another one asks for in its own words (pandas for openpyxl), or None."""
    if name not in ("ModuleNotFoundError", "ImportError"):
        return None
    found = OPTIONAL.search(message)
    return found[1].rstrip("._-").lower() if found else None
