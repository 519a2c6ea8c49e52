-- The first schema. Names and columns are the same in every dialect; JSON is text, times are UNIX seconds.

CREATE TABLE session (
    id TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL,
    kind TEXT NOT NULL,
    title TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    persona TEXT,
    model TEXT,
    repo TEXT,
    archived INTEGER NOT NULL DEFAULT 0,
    meta TEXT NOT NULL DEFAULT '{}',
    version INTEGER NOT NULL DEFAULT 1,
    last_seq INTEGER NOT NULL DEFAULT 0,
    epoch INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX session_owner ON session (owner, updated_at DESC);
CREATE INDEX session_updated ON session (updated_at DESC);
CREATE INDEX session_repo ON session (repo) WHERE repo IS NOT NULL;

-- Deleted ids, so that another process on the same file notices.
CREATE TABLE deleted_session (
    id TEXT PRIMARY KEY NOT NULL,
    deleted_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX deleted_session_at ON deleted_session (deleted_at);

-- item is set on partial frames only; they go away when the item's final event is stored.
CREATE TABLE event (
    session_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    ts REAL NOT NULL,
    type TEXT NOT NULL,
    run_id TEXT,
    item TEXT,
    payload TEXT NOT NULL,
    PRIMARY KEY (session_id, seq)
) WITHOUT ROWID;
CREATE INDEX event_item ON event (session_id, item) WHERE item IS NOT NULL;

-- n is the place in the queue.
CREATE TABLE run (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    session_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL DEFAULT 0,
    status TEXT NOT NULL,
    not_before REAL NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL DEFAULT 10,
    crashes INTEGER NOT NULL DEFAULT 0,
    progress INTEGER NOT NULL DEFAULT 0,
    interrupted INTEGER NOT NULL DEFAULT 0,
    input TEXT NOT NULL DEFAULT '{}',
    output TEXT,
    error TEXT,
    cancel INTEGER NOT NULL DEFAULT 0,
    owner TEXT,
    epoch INTEGER NOT NULL DEFAULT 0,
    lease_until REAL NOT NULL DEFAULT 0,
    parent_run TEXT,
    created_at REAL NOT NULL,
    started_at REAL,
    ended_at REAL
);
CREATE INDEX run_status ON run (status, priority DESC, n);
CREATE INDEX run_session ON run (session_id, status);
CREATE UNIQUE INDEX run_single ON run (session_id) WHERE status = 'running';

CREATE TABLE step (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL,
    key TEXT NOT NULL,
    status TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 1,
    idem_key TEXT NOT NULL,
    result TEXT,
    error TEXT,
    started_at REAL NOT NULL,
    ended_at REAL,
    UNIQUE (run_id, key)
);

CREATE TABLE request (
    id TEXT PRIMARY KEY NOT NULL,
    session_id TEXT NOT NULL,
    run_id TEXT,
    kind TEXT NOT NULL,
    tool_id TEXT,
    body TEXT NOT NULL DEFAULT '{}',
    status TEXT NOT NULL,
    answer TEXT,
    decision TEXT,
    answered_by TEXT,
    deadline REAL,
    created_at REAL NOT NULL,
    answered_at REAL
) WITHOUT ROWID;
CREATE INDEX request_session ON request (session_id, status);
CREATE INDEX request_deadline ON request (deadline) WHERE status = 'open';

CREATE TABLE command (
    session_id TEXT NOT NULL,
    id TEXT NOT NULL,
    digest TEXT NOT NULL,
    result TEXT NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (session_id, id)
) WITHOUT ROWID;

CREATE TABLE blob (
    session_id TEXT NOT NULL,
    hash TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    created_at REAL NOT NULL,
    PRIMARY KEY (session_id, hash)
) WITHOUT ROWID;
CREATE INDEX blob_hash ON blob (hash);

CREATE TABLE schedule (
    id TEXT PRIMARY KEY NOT NULL,
    session_id TEXT NOT NULL,
    name TEXT NOT NULL,
    cron TEXT NOT NULL,
    tz TEXT NOT NULL,
    template TEXT NOT NULL DEFAULT '{}',
    enabled INTEGER NOT NULL DEFAULT 1,
    next_at REAL NOT NULL,
    last_run TEXT,
    catchup TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX schedule_next ON schedule (next_at) WHERE enabled = 1;

CREATE TABLE worker (
    id TEXT PRIMARY KEY NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started TEXT NOT NULL,
    heartbeat_at REAL NOT NULL
) WITHOUT ROWID;
