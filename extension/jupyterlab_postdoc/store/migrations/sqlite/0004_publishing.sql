-- Repositories that users have registered. remote_id is the forge's own number: it stays when a repository is renamed.
CREATE TABLE repository (
    id TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL,
    forge TEXT NOT NULL,
    host TEXT NOT NULL,
    name TEXT NOT NULL,
    remote_id INTEGER,
    url TEXT NOT NULL,
    web_url TEXT,
    default_branch TEXT NOT NULL,
    private INTEGER NOT NULL DEFAULT 1,
    meta TEXT NOT NULL DEFAULT '{}',
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX repository_name ON repository (owner, host, name COLLATE NOCASE);

-- Where a session's work is published. body is what the publication needs to go on; shown is its newest event;
-- look_at is when the forge is asked next (NULL: there is nothing to ask).
CREATE TABLE publication (
    session_id TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL,
    host TEXT NOT NULL,
    state TEXT NOT NULL,
    body TEXT NOT NULL DEFAULT '{}',
    shown TEXT NOT NULL DEFAULT '{}',
    look_at REAL,
    updated_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX publication_look ON publication (look_at) WHERE look_at IS NOT NULL;
