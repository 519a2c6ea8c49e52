import marimo

app = marimo.App()


@app.cell
def study():
    study = {
        "topic": "",
        "template": "waits",
        "version": "1.0.0",
        "parameters": {"data": "synthetic"},
        "session": "",
        "seed": 0,
    }
    return (study,)


if __name__ == "__main__":
    app.run()
