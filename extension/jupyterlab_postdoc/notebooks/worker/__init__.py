"""What runs inside the sandbox: the only modules that import marimo. The server starts them and never imports them."""
