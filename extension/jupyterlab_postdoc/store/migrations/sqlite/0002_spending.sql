-- One call of a model: what it cost, or is expected to cost while it lasts. Kept when its session is deleted, for the
-- budget of the day counts it still.
CREATE TABLE spend (
    id TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL,
    session_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    ts REAL NOT NULL,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    tokens TEXT NOT NULL DEFAULT '{}',
    cost REAL,
    estimated INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX spend_owner ON spend (owner, ts, cost);
CREATE INDEX spend_session ON spend (session_id, ts, cost);
CREATE INDEX spend_run ON spend (run_id, ts, cost);

-- Leave that was given once and for all: for one session, or ('' as session) for all of its owner's.
CREATE TABLE leave_given (
    owner TEXT NOT NULL,
    session_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (owner, session_id, subject)
) WITHOUT ROWID;
